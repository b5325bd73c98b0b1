//! What a witness is told, in which order, and what it can keep from happening.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use packetboat_files::{
    Act, Change, Grant, How, Mount, Refusal, Rights, Space, Sync, Ticket, Tree, VirtualPath, Witness,
};

#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Witness for Notes {
    fn before(&self, change: &Change<'_>) -> Result<Option<Ticket>, Refusal> {
        let mut notes = self.0.lock().unwrap();
        if change.path.to_string().contains("forbidden") {
            return Err(Refusal::NoPermission);
        }
        let hidden = change.other.map(|(path, directory, name)| {
            let there = rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok();
            if change.act == Act::Store { there.to_string() } else { path.to_string() }
        });
        let note = format!("{:?} {} {}", change.act, change.path, hidden.unwrap_or_default());
        notes.push(note.trim().to_owned());
        Ok(Some(Ticket(notes.len() as u128)))
    }

    fn after(&self, change: &Change<'_>, ticket: Option<Ticket>, outcome: Result<&[u8], &Refusal>) {
        let outcome = outcome.map(|name| String::from_utf8_lossy(name).into_owned());
        let mut notes = self.0.lock().unwrap();
        assert_eq!(ticket, Some(Ticket(notes.len() as u128)), "{change:?}");
        let note = match outcome {
            Ok(name) => format!("-> {name}"),
            Err(refusal) => format!("-> {refusal}"),
        };
        notes.last_mut().unwrap().push_str(&note);
    }
}

#[test]
fn every_change_of_a_name_is_told_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let notes = Arc::new(Notes::default());
    let witness: Arc<dyn Witness> = Arc::clone(&notes) as Arc<dyn Witness>;
    let mount = Mount { at: VirtualPath::root(), tree: Tree::open(dir.path()).unwrap() };
    let grant = Grant { path: VirtualPath::root(), rights: Rights::ALL };
    let space = Space::new(vec![mount], vec![grant], Sync::Whole, 0o022).with_witness(witness);
    let at = |path: &str| VirtualPath::root().resolve(path.as_bytes()).unwrap();

    space.make_directory(&at("/d")).unwrap();
    space.make_directory(&at("/d")).unwrap_err();
    let (upload, _) = space.append(&at("/d/a"), None, 1).unwrap();
    upload.commit().unwrap();
    drop(space.store(&at("/d/never"), How::Replace, None, 2).unwrap());
    space.store(&at("/d/a"), How::Unique, None, 3).unwrap().commit().unwrap();
    space.store(&at("/d/a"), How::Create, None, 4).unwrap().commit().unwrap_err();
    space.rename(&at("/d/a"), &at("/b")).unwrap();
    space.remove(&at("/b")).unwrap();
    space.remove(&at("/d/a.1")).unwrap();
    space.remove_directory(&at("/d")).unwrap();
    assert_eq!(
        *notes.0.lock().unwrap(),
        [
            "MakeDirectory /d-> d",
            "MakeDirectory /d-> it exists already",
            "Store /d/a true-> a",
            "Store /d/a true-> a.1",
            "Store /d/a true-> it exists already",
            "Rename /d/a /b-> a",
            "Remove /b-> b",
            "Remove /d/a.1-> a.1",
            "RemoveDirectory /d-> d",
        ]
    );
    // What a witness refuses does not happen.
    assert_eq!(space.make_directory(&at("/forbidden")), Err(Refusal::NoPermission));
    let upload = space.store(&at("/forbidden"), How::Replace, None, 5).unwrap();
    assert_eq!(upload.commit(), Err(Refusal::NoPermission));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
