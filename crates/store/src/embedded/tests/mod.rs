//! Tests that look inside: what survives a power cut, and what happens when the disk refuses.

pub(super) mod disk_sim;
mod faults;
mod format;
mod power_cut;
mod scene;
