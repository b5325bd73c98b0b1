//! The filter's files of one account, and what of them is in memory: which body stands in which column of which file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::aside;
use super::file::{self, COLUMN_WORDS, Columns, Damaged, Head};
use super::signature::{LEAST, MOST, Signature, narrow};

/// So many bits of a slot say which column.
const COLUMN_BITS: u32 = 9;

/// Where bodies stand: file and column.
pub(super) type Slots = HashMap<u64, u32, BuildHasherDefault<Spread>>;

/// Numbers of bodies come from the clock, not from anyone who would choose them badly.
#[derive(Debug, Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.write_u64(u64::from(*octet));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct Part {
    head: Head,
    /// Columns in use; behind them the next body goes.
    filled: usize,
}

impl Part {
    fn is_full(&self) -> bool {
        self.filled >= file::columns(self.head.class)
    }
}

/// An account's filter.
#[derive(Debug)]
pub(super) struct Account {
    dir: PathBuf,
    /// Of its next file, but for the class.
    next: Head,
    /// Files, in the order in which they were met; one that was dropped leaves its place empty.
    parts: Vec<Option<Part>>,
    slots: Arc<Slots>,
}

/// What a query found.
#[derive(Debug)]
pub(super) struct Hits {
    pub(super) slots: Arc<Slots>,
    pub(super) columns: Vec<Columns>,
    /// Files that cannot be believed; all their bodies are among the columns.
    pub(super) damaged: Vec<usize>,
}

/// Whether a slot is among these columns.
pub(super) fn is_among(columns: &[Columns], slot: u32) -> bool {
    let (part, column) = ((slot >> COLUMN_BITS) as usize, (slot & ((1 << COLUMN_BITS) - 1)) as usize);
    columns.get(part).is_none_or(|columns| columns[column / 64 % COLUMN_WORDS] >> (column % 64) & 1 == 1)
}

fn slot(part: usize, column: usize) -> u32 {
    (part as u32) << COLUMN_BITS | column as u32
}

fn path(dir: &Path, head: &Head) -> PathBuf {
    let kind = if head.block { "block" } else { "tail" };
    dir.join(format!("{:08x}-{:02}.{kind}", head.number, head.class))
}

/// Number and class from a file's name, and whether it is a block.
fn read_name(name: &str) -> Option<(u64, u8, bool)> {
    let (stem, kind) = name.split_once('.')?;
    let (number, class) = stem.split_once('-')?;
    let class = class.parse().ok().filter(|class| *class == 0 || (LEAST..=MOST).contains(class))?;
    let block = match kind {
        "block" if class != 0 => true,
        "tail" => false,
        _ => return None,
    };
    Some((u64::from_str_radix(number, 16).ok()?, class, block))
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a file of the filter could not be removed");
    }
}

/// The numbers of a file's bodies, column by column.
fn bodies_of(path: &Path, head: &Head) -> Result<Vec<u64>, Damaged> {
    let file = File::open(path)?;
    if head.block {
        return file::bodies_of_block(&file, head);
    }
    head.check(&file)?;
    let seal = head.seal();
    let count = file::columns_in(head.class, file.metadata()?.len()).ok_or(Damaged)?;
    (0..count).map(|column| file::body_in_tail(&file, seal, head.class, column).ok_or(Damaged)).collect()
}

impl Account {
    /// Reads what is there. Files that are not whole go: a cache may forget.
    pub(super) fn load(dir: PathBuf, store: u64, folding: u16, account: u64) -> io::Result<Account> {
        let next = Head { store, folding, account, number: 1, class: 0, block: false };
        let mut account = Account { dir, next, parts: Vec::new(), slots: Arc::new(Slots::default()) };
        let entries = match std::fs::read_dir(&account.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(account),
            entries => entries?,
        };
        // A block stands before the tail it was made from.
        let mut found = BTreeSet::new();
        for entry in entries {
            let entry = entry?;
            match entry.file_name().to_str().and_then(read_name) {
                Some((number, class, block)) => drop(found.insert((number, !block, class))),
                None => remove(&entry.path()),
            }
        }
        let heads: Vec<Head> = found
            .into_iter()
            .map(|(number, tail, class)| Head { number, class, block: !tail, ..next })
            .collect();
        let bodies = aside::each(&heads, |head| bodies_of(&path(&account.dir, head), head));
        account.slots = Arc::new(Slots::with_capacity_and_hasher(
            bodies.iter().flatten().map(Vec::len).sum(),
            BuildHasherDefault::default(),
        ));
        for (head, bodies) in heads.into_iter().zip(bodies) {
            let last = account.parts.last().and_then(Option::as_ref);
            let has_block = last.is_some_and(|last| last.head.number == head.number);
            match bodies {
                Ok(bodies) if !has_block => account.take_in(head, &bodies),
                _ => remove(&path(&account.dir, &head)),
            }
            account.next.number = account.next.number.max(head.number.saturating_add(1));
        }
        Ok(account)
    }

    /// Notes the bodies of a file.
    fn take_in(&mut self, head: Head, bodies: &[u64]) {
        let part = self.parts.len();
        let slots = Arc::make_mut(&mut self.slots);
        for (column, body) in bodies.iter().enumerate().filter(|(_, body)| **body != 0) {
            slots.insert(*body, slot(part, column));
        }
        self.parts.push(Some(Part { head, filled: bodies.len() }));
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn knows(&self, body: u64) -> bool {
        self.slots.contains_key(&body)
    }

    /// Adds bodies with their signatures; those that are there already are left out.
    pub(super) fn add(&mut self, signatures: Vec<(u64, Signature)>) -> io::Result<()> {
        let mut classes: BTreeMap<u8, BTreeMap<u64, Vec<u8>>> = BTreeMap::new();
        for (body, signature) in signatures {
            if body != 0 && !self.knows(body) {
                classes.entry(signature.class).or_default().insert(body, signature.bits);
            }
        }
        if classes.is_empty() {
            return Ok(());
        }
        crate::embedded::disk::create_dir(&self.dir)?;
        self.turn_full()?;
        for (class, bodies) in classes {
            let mut bodies = bodies.into_iter().peekable();
            while bodies.peek().is_some() {
                let part = self.open_tail(class)?;
                if let Err(error) = self.append(part, &mut bodies) {
                    // How far it came is not known.
                    self.drop_part(part);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Tails that are full, but of which no block was made before the process ended.
    fn turn_full(&mut self) -> io::Result<()> {
        for number in 0..self.parts.len() {
            let Some(Some(part)) = self.parts.get(number) else { continue };
            if part.is_full() && !part.head.block && part.head.class != 0 {
                let tail = File::open(path(&self.dir, &part.head));
                if let Err(error) = tail.and_then(|tail| self.turn(number, &tail)) {
                    self.drop_part(number);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// A tail of this class with room for more.
    fn open_tail(&mut self, class: u8) -> io::Result<usize> {
        let open = self.parts.iter().rposition(|part| {
            part.as_ref().is_some_and(|part| part.head.class == class && !part.head.block && !part.is_full())
        });
        if let Some(part) = open {
            return Ok(part);
        }
        let head = Head { class, ..self.next };
        self.next.number += 1;
        let file = OpenOptions::new().write(true).create_new(true).open(path(&self.dir, &head))?;
        std::os::unix::fs::FileExt::write_all_at(&file, &head.encode(), 0)?;
        self.parts.push(Some(Part { head, filled: 0 }));
        Ok(self.parts.len() - 1)
    }

    /// Writes bodies into a tail until it is full, and then makes a block of it.
    fn append(&mut self, number: usize, bodies: &mut impl Iterator<Item = (u64, Vec<u8>)>) -> io::Result<()> {
        let Some(Some(part)) = self.parts.get_mut(number) else { return Ok(()) };
        let (head, first) = (part.head, part.filled);
        let (seal, room) = (head.seal(), file::columns(head.class) - first);
        let (mut records, mut there) = (Vec::new(), Vec::new());
        for (column, (body, bits)) in (first..).zip(bodies.take(room)) {
            file::put_record(seal, column, body, &bits, &mut records);
            there.push((body, slot(number, column)));
        }
        let file = OpenOptions::new().read(true).write(true).open(path(&self.dir, &head))?;
        file::append(&file, head.class, first, &records)?;
        part.filled += there.len();
        let full = part.is_full();
        Arc::make_mut(&mut self.slots).extend(there);
        if full && head.class != 0 {
            self.turn(number, &file)?;
        }
        Ok(())
    }

    /// Makes a block of a full tail. Everything keeps its slot.
    fn turn(&mut self, number: usize, tail: &File) -> io::Result<()> {
        let Some(Some(part)) = self.parts.get_mut(number) else { return Ok(()) };
        let head = part.head;
        let mut bodies: Vec<u64> = (0..file::columns(head.class))
            .map(|column| {
                let body = file::body_in_tail(tail, head.seal(), head.class, column);
                body.filter(|body| self.slots.get(body) == Some(&slot(number, column))).unwrap_or(0)
            })
            .collect();
        let before = bodies.clone();
        let block = Head { block: true, ..head };
        let (new, to) = (self.dir.join("new"), path(&self.dir, &block));
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&new)?;
        file::turn(tail, &head, &mut bodies, &file)?;
        std::fs::rename(&new, to)?;
        part.head = block;
        remove(&path(&self.dir, &head));
        for (before, after) in before.iter().zip(&bodies) {
            if before != after {
                Arc::make_mut(&mut self.slots).remove(before);
            }
        }
        Ok(())
    }

    /// Which bodies may have all of these.
    pub(super) fn query(&self, places: &[u32]) -> Hits {
        let mut hits = Hits { slots: self.slots.clone(), columns: Vec::new(), damaged: Vec::new() };
        let found = aside::each(&self.parts, |part| match part {
            None => Ok([0; COLUMN_WORDS]),
            Some(part) if part.head.class == 0 => Ok([u64::MAX; COLUMN_WORDS]),
            Some(part) => self.query_part(part, places),
        });
        for (number, found) in found.into_iter().enumerate() {
            hits.columns.push(found.unwrap_or_else(|Damaged| {
                hits.damaged.push(number);
                [u64::MAX; COLUMN_WORDS]
            }));
        }
        hits
    }

    fn query_part(&self, part: &Part, places: &[u32]) -> Result<Columns, Damaged> {
        let (head, class) = (&part.head, part.head.class);
        let file = File::open(path(&self.dir, head))?;
        let bits = || places.iter().map(|place| narrow(*place, class));
        if head.block {
            return file::block_has(&file, head.seal(), class, bits());
        }
        let mut found = [0; COLUMN_WORDS];
        for column in 0..part.filled {
            if file::tail_has(&file, head.seal(), class, column, bits())? {
                found[column / 64] |= 1 << (column % 64);
            }
        }
        Ok(found)
    }

    /// Drops files that this query finds damaged.
    pub(super) fn drop_damaged(&mut self, places: &[u32]) {
        for number in self.query(places).damaged {
            self.drop_part(number);
        }
    }

    /// Forgets a file and the bodies in it.
    pub(super) fn drop_part(&mut self, number: usize) {
        let Some(part) = self.parts.get_mut(number).and_then(Option::take) else { return };
        remove(&path(&self.dir, &part.head));
        Arc::make_mut(&mut self.slots).retain(|_, slot| (*slot >> COLUMN_BITS) as usize != number);
    }

    /// Where all bodies stand.
    pub(super) fn slots(&self) -> Arc<Slots> {
        self.slots.clone()
    }

    /// Drops files of which the larger part is of no use: `alive` has the slots of bodies that somebody has.
    pub(super) fn tidy(&mut self, alive: &[u32]) {
        let mut counts = vec![0; self.parts.len()];
        for slot in alive {
            if let Some(count) = counts.get_mut((slot >> COLUMN_BITS) as usize) {
                *count += 1;
            }
        }
        for (number, alive) in counts.into_iter().enumerate() {
            let mostly_gone =
                |part: &Part| alive * 2 < part.filled && (alive == 0 || part.filled >= WORTH_IT);
            if self.parts[number].as_ref().is_some_and(mostly_gone) {
                self.drop_part(number);
            }
        }
    }
}

/// A file with fewer bodies is kept as long as any of them is there.
const WORTH_IT: usize = 48;
