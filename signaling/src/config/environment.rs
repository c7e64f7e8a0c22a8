//! Environment variables that look like settings and are none, or whose values are refused. A setting that is not
//! applied is found out much later, so each is named at the start.

use std::ffi::OsString;

use clap::CommandFactory;
use clap::error::ContextKind;

use super::{CHECK_TOKEN_VARIABLE, Flags, KEYS_VARIABLE, TURN_SECRET_VARIABLE};

const PREFIX: &str = "TERTULIA_";
/// Keys that only the file has.
const FILE_KEYS: [&str; 4] = ["media_announce", "room_caps", "ice_servers", "limits"];
/// Letters by which a name may differ from the one that was meant.
const TYPO: usize = 3;

/// A sentence for each variable of `names` that is no setting and looks like one.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let command = Flags::command();
    let known: Vec<String> = command
        .get_arguments()
        .filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned))
        .chain([CHECK_TOKEN_VARIABLE, KEYS_VARIABLE, TURN_SECRET_VARIABLE].map(str::to_owned))
        .collect();
    let mut unknown: Vec<String> = names
        .filter(|name| name.starts_with(PREFIX))
        .filter(|name| !known.contains(name) && !is_of_kubernetes(name))
        .collect();
    unknown.sort_unstable();
    unknown.iter().map(|name| explain(name, &known)).collect()
}

/// A sentence that names the environment variable of a refused value; none if `arguments` have its flag. The error
/// itself names the flag alone.
pub fn blamed_variable(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let invalid = error.get(ContextKind::InvalidArg)?.to_string();
    let command = Flags::command();
    let (flag, variable) = command.get_arguments().find_map(|argument| {
        let flag = format!("--{}", argument.get_long()?);
        let variable = argument.get_env()?.to_str()?.to_owned();
        // The value's name follows: `--listen <ADDR>`, `--open[=<BOOL>]`.
        (invalid.split([' ', '[', '=']).next() == Some(&flag)).then_some((flag, variable))
    })?;
    let is_given = |given: &OsString| given.to_string_lossy().split('=').next() == Some(&flag);
    let blames = !arguments.iter().any(is_given);
    blames.then(|| format!("The value is that of the environment variable {variable}.\n"))
}

fn explain(name: &str, known: &[String]) -> String {
    let key = name[PREFIX.len()..].to_ascii_lowercase();
    let of_file = FILE_KEYS.iter().find(|each| key.starts_with(**each));
    if let Some(of_file) = of_file {
        return format!("{name} is no setting: `{of_file}` is set in the file of --config");
    }
    let near = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known));
    match near.min() {
        Some((distance, near)) if distance <= TYPO.min(key.len() / 2) => {
            format!("{name} is no setting: {near} is meant, perhaps")
        }
        _ => format!("{name} is no setting: --help lists those there are"),
    }
}

/// Kubernetes tells every pod of a namespace where the service `tertulia` is, under these names.
fn is_of_kubernetes(name: &str) -> bool {
    let name = &name[PREFIX.len()..];
    name == "PORT"
        || name == "SERVICE_HOST"
        || name.starts_with("SERVICE_PORT")
        || name
            .strip_prefix("PORT_")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn said(name: &str) -> String {
        unknown_variables([name.to_owned()].into_iter()).join("; ")
    }

    #[test]
    fn what_is_no_setting_is_named_with_what_may_be_meant() {
        for (name, named) in [
            ("TERTULIA_LISTNE", "TERTULIA_LISTEN"),
            ("TERTULIA_MEDIA_IPS", "TERTULIA_MEDIA_IP "),
            ("TERTULIA_MEDIAPORT", "TERTULIA_MEDIA_PORT"),
            ("TERTULIA_WORKER", "TERTULIA_WORKERS"),
            ("TERTULIA_ICE_SERVERS", "`ice_servers`"),
            ("TERTULIA_LIMITS_ROOMS", "`limits`"),
            ("TERTULIA_LIMITS__ROOMS", "`limits`"),
            ("TERTULIA_COLOUR_OF_THE_PAGE", "--help"),
            ("TERTULIA_", "--help"),
        ] {
            let said = said(name);
            assert!(said.starts_with(name) && said.contains(named), "{said}");
        }
    }

    #[test]
    fn settings_and_what_others_set_are_passed_over() {
        for name in [
            "TERTULIA_LISTEN",
            "TERTULIA_CONFIG",
            "TERTULIA_LOG",
            "TERTULIA_KEYS",
            "TERTULIA_KEYS_FILE",
            "TERTULIA_TURN_SECRET",
            "TERTULIA_CHECK_TOKEN",
            "TERTULIA_OPEN",
            "TERTULIA_PORT",
            "TERTULIA_PORT_8080_TCP_ADDR",
            "TERTULIA_SERVICE_HOST",
            "TERTULIA_SERVICE_PORT_HTTP",
            "LISTEN",
            "RUST_LOG",
        ] {
            assert_eq!(said(name), "", "{name}");
        }
    }

    #[test]
    fn keys_of_the_file_are_keys() {
        for key in FILE_KEYS {
            let said = toml::from_str::<Config>(&format!("{key} = 1")).expect_err(key);
            assert!(!said.to_string().contains("unknown field"), "{said}");
        }
    }
}
