//! Whole offers.
