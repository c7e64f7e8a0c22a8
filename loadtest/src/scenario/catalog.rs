//! The scenarios that come with the program, and those in files.

use std::path::Path;

use super::settings::Settings;

macro_rules! built_in {
    ($($name:literal),*) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*]
    };
}

/// Name and text.
const BUILT_IN: &[(&str, &str)] = built_in!(
    "small",
    "audio-room",
    "meeting",
    "livestream",
    "livestream-1000",
    "many-rooms",
    "join-storm",
    "churn",
    "soak",
    "speakers",
    "tiles"
);

/// The scenario that `--scenario` names, built in or a file, with its name.
///
/// # Errors
///
/// There is no such scenario, or the file has a fault, which the error tells.
pub fn load(scenario: &str) -> Result<(String, Settings), String> {
    let known = BUILT_IN.iter().find(|(name, _)| *name == scenario);
    if let Some((name, text)) = known {
        return Settings::parse(text).map(|settings| ((*name).to_owned(), settings));
    }
    let path = Path::new(scenario);
    if path.extension().is_none() && !path.exists() {
        let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        return Err(format!(
            "no scenario `{scenario}`: it is none of {names}, and no file"
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{scenario}: {error}"))?;
    let settings = Settings::parse(&text).map_err(|error| format!("{scenario}: {error}"))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok((name.into_owned(), settings))
}

/// Name and description of each of ours.
pub fn list() -> Vec<(&'static str, String)> {
    let about = |text| {
        Settings::parse(text)
            .ok()
            .and_then(|settings| settings.about)
    };
    BUILT_IN
        .iter()
        .map(|(name, text)| (*name, about(text).unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_ours_is_sound_and_described() {
        for (name, about) in list() {
            let (loaded, settings) = load(name).unwrap();
            assert_eq!(loaded, name);
            settings
                .scenario(name)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!((20..=100).contains(&about.len()), "{name}: {about}");
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), BUILT_IN.len());
    }

    #[test]
    fn files_and_what_is_none() {
        let path = std::env::temp_dir().join(format!("mine-{}.toml", std::process::id()));
        std::fs::write(&path, "rooms = 7").unwrap();
        let (name, settings) = load(path.to_str().unwrap()).unwrap();
        std::fs::write(&path, "rooms = 7\nroms = 8").unwrap();
        let error = load(path.to_str().unwrap()).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(name.starts_with("mine-"));
        assert_eq!(settings.rooms, Some(7));
        assert!(error.contains("mine-") && error.contains("roms"), "{error}");
        assert!(load("nonesuch").unwrap_err().contains("livestream"));
        assert!(load("nonesuch.toml").unwrap_err().contains("nonesuch.toml"));
    }
}
