//! RTP wire formats.
