//! Data channels.
