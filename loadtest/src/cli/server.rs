//! Flags of the server that a command measures.

use std::path::PathBuf;

use crate::scenario::Spawn;
use crate::server::cores::Cores;

/// The server that is there, or is started.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct ServerArgs {
    /// Start a server for each measurement, and end it afterwards
    #[arg(long, conflicts_with_all = ["url", "server_pid"])]
    spawn: bool,
    /// The program to start [default: `tertulia` beside this program]
    #[arg(long, value_name = "FILE", requires = "spawn")]
    server_binary: Option<PathBuf>,
    /// Cores of the started server
    #[arg(long, value_name = "LIST", requires = "spawn")]
    server_cores: Option<Cores>,
    /// Process of the server, to account for it
    #[arg(long, value_name = "PID")]
    pub(super) server_pid: Option<u32>,
}

impl ServerArgs {
    /// The server to start; none if one runs.
    pub(super) fn spawn(&self) -> Option<Spawn> {
        self.spawn.then(|| Spawn {
            binary: self.server_binary.clone(),
            cores: self.server_cores.clone().unwrap_or_default().0,
            ..Spawn::default()
        })
    }
}
