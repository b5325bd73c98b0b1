//! Moving a file over a data connection.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use packetboat_files::Upload;
use packetboat_ftp::data::container::{HEADER_OCTETS, Header, is_container};
use packetboat_ftp::data::{Inbound, News, Outbound, Restart};
use packetboat_ftp::server::{Refusal, Transfer, TransferFailure};
use tokio::sync::mpsc::Sender;

use super::beside::{self, Seat};
use super::stream::Data;

/// Octets moved at a time.
const PIECE: usize = 256 * 1024;
/// Octets received at a time until it is seen that more come: making room for many costs more than receiving a small file.
const FIRST_PIECE: usize = 16 * 1024;
/// Octets of a file that are looked at before it is sent: the whole of a small one.
const FIRST_SENT: usize = 8 * 1024;
/// Octets that the kernel is asked to move at a time, without their coming here.
const KERNEL_PIECE: usize = 8 << 20;

/// How far a transfer is, for whoever asks.
pub(super) type Progress = Arc<AtomicU64>;

/// The first octet that a client wants of a file, and the one behind the last, where the file is sent as it is.
pub(super) fn wanted(transfer: &Transfer, octets: u64) -> (u64, u64) {
    match (transfer.restart, transfer.range) {
        (Restart::Stream(first), _) => (first, octets),
        (_, Some((first, last))) => (first, octets.min(last.saturating_add(1))),
        _ => (0, octets),
    }
}

/// Sends a file; says how many octets went over the connection.
pub(super) fn send(
    data: &mut Data,
    file: &File,
    octets: u64,
    transfer: &Transfer,
    progress: &Progress,
) -> Result<u64, TransferFailure> {
    let mut begin = [0; FIRST_SENT];
    let read = read_at_most(file, &mut begin, 0).map_err(of_file)?;
    let begin = begin.get(..read).unwrap_or_default();
    let head = begin.get(..HEADER_OCTETS).unwrap_or(begin);
    let plain = transfer.representation.is_plain() && !transfer.deflate && !is_container(head);
    if plain {
        let (first, end) = wanted(transfer, octets);
        // All of it is here already.
        if octets == read as u64 {
            let whole = usize::try_from(first).ok().zip(usize::try_from(end).ok());
            let wanted = whole.and_then(|(first, end)| begin.get(first..end)).unwrap_or_default();
            data.send_last(wanted).map_err(of_connection)?;
            progress.store(wanted.len() as u64, Ordering::Relaxed);
            return Ok(wanted.len() as u64);
        }
        return send_plain(data, file, first, end, progress);
    }
    let mut outbound = Outbound::new(transfer.representation, &transfer.options, head, transfer.restart)
        .map_err(TransferFailure::Data)?;
    let room = usize::try_from(octets).map_or(PIECE, |octets| octets.clamp(HEADER_OCTETS, PIECE));
    let (mut at, mut piece, mut unsent) = (outbound.position(), vec![0; room], 0..0);
    let make = |out: &mut Vec<u8>| {
        out.clear();
        if unsent.is_empty() {
            let read = read_at_most(file, &mut piece, at).map_err(of_file)?;
            if read == 0 {
                return outbound.finish(out, PIECE).map(|ended| !ended).map_err(TransferFailure::Data);
            }
            (at, unsent) = (at + read as u64, 0..read);
        }
        let mut disk = piece.get(unsent.clone()).unwrap_or_default();
        outbound.push(&mut disk, out, PIECE).map_err(TransferFailure::Data)?;
        unsent.start = unsent.end - disk.len();
        Ok(true)
    };
    let seat = Seat::for_long(octets, &data.pace);
    let mut sink = Sink::new(data, transfer.deflate, progress);
    beside::pieces(seat, make, |out| sink.write_all(out).map_err(of_connection))?;
    sink.finish().map_err(of_connection)
}

/// Whether what is sent of a file, or will lie of it, is what lies on disk or comes: whoever moves it has only to move it.
pub(super) fn is_moved_as_it_is(file: &File, transfer: &Transfer) -> bool {
    let mut head = [0; HEADER_OCTETS];
    let is_plain = transfer.representation.is_plain() && !transfer.deflate;
    is_plain
        && read_at_most(file, &mut head, 0)
            .is_ok_and(|read| !is_container(head.get(..read).unwrap_or_default()))
}

/// Sends text that was made for this, such as a listing, piece by piece.
pub(super) fn send_made(
    data: &mut Data,
    mut make: impl FnMut(&mut Vec<u8>) -> Result<bool, TransferFailure>,
    transfer: &Transfer,
    progress: &Progress,
) -> Result<u64, TransferFailure> {
    let mut outbound = Outbound::new(transfer.representation, &transfer.options, &[], Restart::None)
        .map_err(TransferFailure::Data)?;
    let (mut text, mut out) = (Vec::new(), Vec::new());
    let mut sink = Sink::new(data, transfer.deflate, progress);
    let mut more = true;
    while more {
        text.clear();
        more = make(&mut text)?;
        let mut rest = &text[..];
        while !rest.is_empty() {
            out.clear();
            outbound.push(&mut rest, &mut out, PIECE).map_err(TransferFailure::Data)?;
            sink.write_all(&out).map_err(of_connection)?;
        }
    }
    out.clear();
    outbound.finish(&mut out, usize::MAX).map_err(TransferFailure::Data)?;
    sink.write_all(&out).map_err(of_connection)?;
    sink.finish().map_err(of_connection)
}

fn send_plain(
    data: &mut Data,
    file: &File,
    first: u64,
    end: u64,
    progress: &Progress,
) -> Result<u64, TransferFailure> {
    let seat = Seat::for_long(end.saturating_sub(first), &data.pace);
    // A client on this machine would be woken for every 64 KiB, and copy them from pages that no processor has at hand. Where
    // there is no processor to spare for that, the system does it with less.
    if data.socket().is_some() && !(data.is_local() && seat.is_some()) {
        return send_by_kernel(data, file, first, end, progress);
    }
    send_copied(data, file, (first, end), seat, progress)
}

/// The octets do not come here.
fn send_by_kernel(
    data: &mut Data,
    file: &File,
    first: u64,
    end: u64,
    progress: &Progress,
) -> Result<u64, TransferFailure> {
    let mut at = first;
    while at < end {
        let Some(socket) = data.socket() else { break };
        let mut offset = at;
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(KERNEL_PIECE);
        let sent = match rustix::fs::sendfile(socket, file, Some(&mut offset), data.pace.piece(wanted)) {
            Err(rustix::io::Errno::INTR) => continue,
            sent => sent.map_err(|error| of_connection(error.into()))?,
        };
        data.pace.took(sent);
        // Somebody has cut the file off while it was sent.
        if sent == 0 {
            break;
        }
        at += sent as u64;
        progress.store(at - first, Ordering::Relaxed);
    }
    Ok(at.saturating_sub(first))
}

/// The octets come here.
fn send_copied(
    data: &mut Data,
    file: &File,
    (first, end): (u64, u64),
    seat: Option<Seat>,
    progress: &Progress,
) -> Result<u64, TransferFailure> {
    let mut at = first;
    let make = |piece: &mut Vec<u8>| {
        let wanted = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(PIECE);
        piece.resize(wanted, 0);
        let read = read_at_most(file, piece, at).map_err(of_file)?;
        piece.truncate(read);
        at += read as u64;
        // Somebody may have cut the file off while it was sent.
        Ok(at < end && read > 0)
    };
    let mut sink = Sink::new(data, false, progress);
    beside::pieces(seat, make, |piece| sink.write_all(piece).map_err(of_connection))?;
    sink.finish().map_err(of_connection)
}

/// Receives a file behind what the upload begins with; says how many octets came.
pub(super) fn receive(
    data: &mut Data,
    upload: &mut Upload,
    begin: u64,
    transfer: &Transfer,
    progress: &Progress,
    markers: &Sender<(String, u64)>,
) -> Result<u64, TransferFailure> {
    let mut head = [0; HEADER_OCTETS];
    let read = if begin > 0 { read_at_most(upload.file(), &mut head, 0).map_err(of_file)? } else { 0 };
    let goes_on = Header::parse(head.get(..read).unwrap_or_default());
    let mut inbound = Inbound::new(transfer.representation, &transfer.options, goes_on);
    let mut at = begin;
    if let (Some(header), 0) = (inbound.header(), begin) {
        upload.write_at(&header, 0).map_err(of_space)?;
        at = header.len() as u64;
    }
    let origin = at;
    let plain = transfer.representation.is_plain();
    let (mut piece, mut out, mut news) = (vec![0; FIRST_PIECE], Vec::new(), Vec::new());
    let (mut received, mut next) = (0, Vec::new());
    let mut source: Box<dyn io::Read + '_> = if transfer.deflate {
        Box::new(flate2::read::ZlibDecoder::new(&mut *data))
    } else {
        Box::new(&mut *data)
    };
    loop {
        if received > FIRST_PIECE as u64 && piece.len() < PIECE {
            piece.resize(PIECE, 0);
        }
        let read = match source.read(&mut piece) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(of_connection(error)),
        };
        let Some(wire) = piece.get(..read).filter(|wire| !wire.is_empty()) else { break };
        received += read as u64;
        progress.store(received, Ordering::Relaxed);
        if plain {
            upload.write_at(wire, at).map_err(of_space)?;
            at += read as u64;
            continue;
        }
        out.clear();
        let consumed = inbound.push(wire, &mut out, &mut news).map_err(TransferFailure::Data)?;
        upload.write_at(&out, at).map_err(of_space)?;
        at += out.len() as u64;
        for news in news.drain(..) {
            if let News::Marker { marker, octets } = news {
                // What the place is worth is known when it is on disk.
                upload.file().sync_data().map_err(of_file)?;
                let _ = markers.blocking_send((marker, origin + octets));
            }
        }
        if consumed.end_of_file {
            next.extend_from_slice(wire.get(consumed.octets..).unwrap_or_default());
            break;
        }
    }
    drop(source);
    if !next.is_empty() {
        data.put_back(&next);
    }
    if !plain {
        out.clear();
        let end = inbound.finish(&mut out).map_err(TransferFailure::Data)?;
        upload.write_at(&out, at).map_err(of_space)?;
        if let Some(header) = end.header {
            upload.write_at(&header, 0).map_err(of_space)?;
        }
    }
    Ok(received)
}

/// Where on disk what is sent in stream mode has so many octets: text has others there.
pub(super) fn place_on_disk(file: &File, octets: u64, transfer: &Transfer) -> Result<u64, TransferFailure> {
    if transfer.representation.is_plain() {
        return Ok(octets);
    }
    let mut head = [0; HEADER_OCTETS];
    let read = read_at_most(file, &mut head, 0).map_err(of_file)?;
    let head = head.get(..read).unwrap_or_default();
    let mut outbound = Outbound::new(transfer.representation, &transfer.options, head, Restart::None)
        .map_err(TransferFailure::Data)?;
    let (mut sent, mut piece, mut out) = (0, vec![0; PIECE], Vec::new());
    while sent < octets {
        let at = outbound.position();
        // No octet on disk becomes more than a few on the wire: the pieces become smaller as it comes close, down to
        // single ones, so that the place is the exact one.
        let wanted = usize::try_from((octets - sent) / 8).unwrap_or(usize::MAX).clamp(1, PIECE);
        let read = read_at_most(file, piece.get_mut(..wanted).unwrap_or_default(), at).map_err(of_file)?;
        if read == 0 {
            break;
        }
        let mut disk = piece.get(..read).unwrap_or_default();
        out.clear();
        outbound.push(&mut disk, &mut out, usize::MAX).map_err(TransferFailure::Data)?;
        sent += out.len() as u64;
    }
    if sent == octets { Ok(outbound.position()) } else { Err(TransferFailure::File(Refusal::InvalidRestart)) }
}

/// Counts, and deflates where that was asked for.
enum Sink<'a> {
    Plain(Counted<'a>),
    Deflated(flate2::write::ZlibEncoder<Counted<'a>>),
}

struct Counted<'a> {
    data: &'a mut Data,
    octets: u64,
    progress: &'a Progress,
}

impl<'a> Sink<'a> {
    fn new(data: &'a mut Data, deflate: bool, progress: &'a Progress) -> Sink<'a> {
        let counted = Counted { data, octets: 0, progress };
        match deflate {
            false => Sink::Plain(counted),
            true => Sink::Deflated(flate2::write::ZlibEncoder::new(counted, flate2::Compression::default())),
        }
    }

    fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Sink::Plain(counted) => counted.write_all(octets),
            Sink::Deflated(encoder) => encoder.write_all(octets),
        }
    }

    fn finish(self) -> io::Result<u64> {
        match self {
            Sink::Plain(counted) => Ok(counted.octets),
            Sink::Deflated(encoder) => Ok(encoder.finish()?.octets),
        }
    }
}

impl io::Write for Counted<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.data.write(octets)?;
        self.octets += written as u64;
        self.progress.store(self.octets, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.data.flush()
    }
}

fn read_at_most(file: &File, piece: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(piece, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// What went wrong on disk.
fn of_file(error: io::Error) -> TransferFailure {
    TransferFailure::File(match rustix::io::Errno::from_io_error(&error) {
        Some(errno) => super::actions::refusal(&packetboat_files::Refusal::from(errno)),
        None => Refusal::LocalError,
    })
}

/// The same, as the file space says it.
fn of_space(why: packetboat_files::Refusal) -> TransferFailure {
    TransferFailure::File(super::actions::refusal(&why))
}

/// What went wrong on the line.
fn of_connection(error: io::Error) -> TransferFailure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => TransferFailure::TooSlow,
        _ => TransferFailure::ConnectionLost,
    }
}
