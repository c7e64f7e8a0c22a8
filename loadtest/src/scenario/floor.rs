//! What the kernel and the cipher cost by themselves, on the server's core.

use std::io;

use super::Scenario;
use crate::report::Floor;
use crate::server::cores;

pub(super) fn measure(scenario: &Scenario) -> io::Result<Floor> {
    let _ = (scenario, cores::allowed(0)?);
    Err(io::Error::other("--floor is not available in this build"))
}
