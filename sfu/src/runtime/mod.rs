//! Sockets, threads and clocks.
