//! Tests that look inside: what survives a power cut, and what happens when the disk refuses.

mod disk_sim;
mod faults;
mod power_cut;
mod scene;
