//! What people write between LIST and the path, because they know `ls`.

use crate::command::PathName;

/// What of `ls`'s options is obeyed. The others are read and passed over, as clients send `-aL` and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// `-a`: names that begin with a dot too, and the directory itself and its parent.
    pub all: bool,
    /// `-A`: as `-a`, without these two.
    pub almost_all: bool,
    /// `-R`: what is in the directories, and in theirs.
    pub recursive: bool,
    /// `-d`: the directory and not what is in it.
    pub directory: bool,
    /// `-F`: a slash behind directories.
    pub classify: bool,
    /// `-l`, which LIST has anyway and NLST gets by it; `-1` is the opposite.
    pub long: Option<bool>,
    /// `-t`, `-S`
    pub order: Order,
    /// `-r`
    pub reverse: bool,
}

/// In which order names come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As the directory has them: a listing begins at once, however long it will be.
    #[default]
    AsFound,
    /// By their octets, for `-r` alone.
    Name,
    /// The latest first.
    Time,
    /// The largest first.
    Size,
}

impl Flags {
    /// Takes the options from the front of what stands behind LIST; the rest is the path. `--` ends them, for a path that
    /// begins with a hyphen.
    pub fn parse(argument: Option<&PathName>) -> (Flags, Option<PathName>) {
        let mut flags = Flags::default();
        let mut rest = argument.map(PathName::as_bytes).unwrap_or_default();
        loop {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(|octet| *octet == b' ').unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            match word {
                b"--" => {
                    rest = behind.strip_prefix(b" ").unwrap_or(behind);
                    break;
                }
                [b'-', letters @ ..]
                    if !letters.is_empty() && letters.iter().all(u8::is_ascii_alphanumeric) =>
                {
                    letters.iter().for_each(|letter| flags.set(*letter));
                    rest = behind;
                }
                _ => break,
            }
        }
        if flags.reverse && flags.order == Order::AsFound {
            flags.order = Order::Name;
        }
        (flags, PathName::new(rest))
    }

    fn set(&mut self, letter: u8) {
        match letter {
            b'a' => self.all = true,
            b'A' => self.almost_all = true,
            b'R' => self.recursive = true,
            b'd' => self.directory = true,
            b'F' | b'p' => self.classify = true,
            b'l' => self.long = Some(true),
            b'1' | b'C' => self.long = Some(false),
            b't' => self.order = Order::Time,
            b'S' => self.order = Order::Size,
            b'r' => self.reverse = true,
            _ => {}
        }
    }
}
