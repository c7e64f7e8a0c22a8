//! `tertulia-loadtest`: see `tertulia-loadtest run --help`.

use std::process::ExitCode;

use clap::Parser;
use tertulia_loadtest::cli::Cli;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Silent by default: the crate logs each packet, which would change the measurement.
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off")),
        )
        .with_writer(std::io::stderr)
        .init();
    ExitCode::from(cli.run().await)
}
