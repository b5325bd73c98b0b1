//! Values that must not be seen: not in a log, not in a failure message, not in freed memory.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A password, key or token. It does not print, compares in constant time, and is overwritten when dropped.
///
/// Reading it takes a visible [`expose`](Secret::expose). What is copied out of there is no longer guarded.
#[derive(Clone, Default)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Guards `value` from now on.
    pub fn new(value: T) -> Secret<T> {
        Secret(value)
    }

    /// The guarded value.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Secret<T> {
        Secret(value)
    }
}

impl From<&str> for Secret<String> {
    fn from(value: &str) -> Secret<String> {
        Secret(value.to_owned())
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    /// Takes the same time wherever two values of one length differ.
    fn eq(&self, other: &Secret<T>) -> bool {
        constant_time_eq(self.0.as_ref(), other.0.as_ref())
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

/// Compares without telling by the time taken where the difference lies. Lengths are not hidden.
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        #[derive(Debug)]
        #[allow(dead_code)] // read through Debug only
        struct Login {
            password: Secret<String>,
        }
        let login = Login { password: "hunter2".into() };
        assert_eq!(format!("{login:?}"), "Login { password: *** }");
        assert_eq!(login.password.expose(), "hunter2");
    }

    #[test]
    fn equality_looks_at_every_octet_and_the_length() {
        let secret = Secret::new(b"abc".to_vec());
        assert_eq!(secret, Secret::new(b"abc".to_vec()));
        assert_ne!(secret, Secret::new(b"abd".to_vec()));
        assert_ne!(secret, Secret::new(b"ab".to_vec()));
        assert_ne!(secret, Secret::new(b"abcd".to_vec()));
    }
}
