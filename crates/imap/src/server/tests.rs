use super::*;

#[test]
fn a_session_is_small() {
    assert!(size_of::<Server>() < 400, "{} octets", size_of::<Server>());
}
