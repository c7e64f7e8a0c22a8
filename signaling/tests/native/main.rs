//! The native protocol against a real server on an ephemeral port, with a media plane that only
//! keeps books.

mod client;
mod fake_media;
mod http;
mod limits;
mod media;
mod presence;
mod refusals;
mod server;
mod shutdown;
