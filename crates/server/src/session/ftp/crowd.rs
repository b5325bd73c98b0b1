//! A directory with many entries: most of the time that listing it takes is the system's, which is asked for the facts of
//! each name, so a second thread asks too. What comes of it is told in the order of the directory.

use std::collections::VecDeque;
use std::sync::{Arc, mpsc};

use packetboat_files::{Lister, Names, Refusal as Files, VirtualPath};

use super::beside::Seat;
use super::listing::Style;

/// Batches of names that are looked at before the first of them is told.
const AHEAD: usize = 6;
/// Of so many batches we do one ourselves, beside reading names and sending: the other thread does the others.
const OWN: usize = 3;

/// The listing of a long directory.
#[derive(Debug)]
pub(super) struct Crowd {
    lister: Box<Lister>,
    place: Arc<Place>,
    helper: Option<mpsc::Sender<Task>>,
    waiting: VecDeque<Piece>,
    batches: usize,
    ended: bool,
}

/// Which directory, and how it is told.
#[derive(Debug)]
struct Place {
    style: Arc<Style>,
    at: VirtualPath,
}

type Text = Result<Vec<u8>, Files>;

#[derive(Debug)]
enum Piece {
    Made(Text),
    Awaited(mpsc::Receiver<Text>),
}

#[derive(Debug)]
struct Task {
    names: Names,
    done: mpsc::SyncSender<Text>,
}

impl Crowd {
    pub(super) fn new(lister: Box<Lister>, style: Arc<Style>, at: VirtualPath) -> Crowd {
        let place = Arc::new(Place { style, at });
        let (waiting, helper) = (VecDeque::new(), helper(&place));
        Crowd { lister, place, helper, waiting, batches: 0, ended: false }
    }

    /// Appends the next piece of text; false: there is none.
    pub(super) fn more(&mut self, text: &mut Vec<u8>) -> Result<bool, Files> {
        while self.waiting.len() < AHEAD && !self.ended {
            let Some(names) = self.lister.names() else {
                self.ended = true;
                break;
            };
            let names = names?;
            let own = self.batches.is_multiple_of(OWN);
            self.batches += 1;
            self.waiting.push_back(match self.helper.as_ref().filter(|_| !own) {
                None => Piece::Made(self.place.text(names)),
                Some(helper) => {
                    let (done, made) = mpsc::sync_channel(1);
                    match helper.send(Task { names, done }) {
                        Ok(()) => Piece::Awaited(made),
                        Err(mpsc::SendError(task)) => Piece::Made(self.place.text(task.names)),
                    }
                }
            });
            if own {
                break;
            }
        }
        let made = match self.waiting.pop_front() {
            None => return Ok(false),
            Some(Piece::Made(made)) => made?,
            Some(Piece::Awaited(made)) => made
                .recv()
                .map_err(|_| Files::Failed("a thread that makes a listing has ended".to_owned()))??,
        };
        if text.is_empty() {
            *text = made;
        } else {
            text.extend_from_slice(&made);
        }
        Ok(true)
    }
}

impl Place {
    fn text(&self, mut names: Names) -> Text {
        let (mut text, mut entry) = (Vec::with_capacity(super::listing::LISTING_PIECE), Default::default());
        let rights = self.style.rights_within(&self.at);
        while let Some(read) = names.read(&mut entry) {
            read?;
            self.style.line(&self.at, rights, &entry, &mut text);
        }
        Ok(text)
    }
}

/// A thread that helps, if there may be one more.
fn helper(place: &Arc<Place>) -> Option<mpsc::Sender<Task>> {
    let seat = Seat::take()?;
    let place = Arc::clone(place);
    let (helper, tasks) = mpsc::channel::<Task>();
    let help = move || {
        let _seat = seat;
        for Task { names, done } in tasks {
            // Nobody waits for it when the transfer was broken off.
            let _ = done.send(place.text(names));
        }
    };
    std::thread::Builder::new().name("listing".to_owned()).spawn(help).ok()?;
    Some(helper)
}
