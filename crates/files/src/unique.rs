//! Names of their own (STOU).

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::list::look;
use crate::share::Gone;
use crate::{How, Refusal, Right, Space, Upload, VirtualPath};

/// Names that are tried in their order: `name`, `name.1`, and so on.
const COUNTED: u64 = 10;
/// Names that are tried after them, at random.
const RANDOM: u64 = 20;

/// A directory, by device and number, and a name in it.
type Name = ((u64, u64), Vec<u8>);

/// Names of uploads that are under way, so that no two are promised the same.
static PROMISED: Mutex<Option<HashSet<Name>>> = Mutex::new(None);

/// A name that was promised to an upload.
#[derive(Debug)]
pub(crate) struct Promise(Name);

impl Promise {
    fn make(directory: &OwnedFd, name: &[u8]) -> Result<Option<Promise>, Refusal> {
        let name = (look(directory, b"")?.unique, name.to_vec());
        let new = names().get_or_insert_default().insert(name.clone());
        Ok(new.then(|| Promise(name)))
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(names) = names().as_mut() {
            names.remove(&self.0);
        }
    }
}

fn names() -> MutexGuard<'static, Option<HashSet<Name>>> {
    PROMISED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Space {
    /// A file to store under a name that nothing else has: this one or one like it, which is promised. Should a stranger to
    /// this server take it meanwhile, [`Upload::commit`] tells another.
    pub fn store_unique(
        &self,
        path: &VirtualPath,
        umask: Option<u32>,
        random: u64,
    ) -> Result<(Upload, VirtualPath), Refusal> {
        let (above, wanted) = path.split().ok_or(Refusal::InvalidPath)?;
        for number in 0..COUNTED + RANDOM {
            let suffix = match number {
                0 => String::new(),
                number if number < COUNTED => format!(".{number}"),
                // Different for each try, as `random` is for each upload.
                number => {
                    format!(".{:08x}", (random ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32)
                }
            };
            let at = above.join(&[wanted, suffix.as_bytes()].concat())?;
            self.permits(&at, Right::Create)?;
            let (directory, name) = self.parent(&at)?;
            let Some(promise) = Promise::make(&directory, &name)? else { continue };
            match look(&directory, &name) {
                Ok(_) => continue,
                Err(Refusal::NotFound) => {}
                Err(refusal) => return Err(refusal),
            }
            let mut upload = self.upload(&at, How::Unique, umask, random, Gone::default())?;
            upload.promised(promise);
            return Ok((upload, at));
        }
        Err(Refusal::Exists)
    }
}
