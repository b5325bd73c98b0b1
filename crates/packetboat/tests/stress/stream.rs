//! The ways to the server: in the clear, under TLS, and either of them compressed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Octets read at a time.
const PIECE: usize = 16 * 1024;

/// Where the server is, and since when this has been going on.
#[derive(Debug, Clone)]
pub struct Doors {
    pub imap: SocketAddr,
    pub imaps: SocketAddr,
    pub began: Instant,
    tls: Arc<ClientConfig>,
}

impl Doors {
    /// `authority`: the file of the certificate to trust.
    pub fn new(imap: SocketAddr, imaps: SocketAddr, authority: &str, began: Instant) -> Doors {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(authority).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Doors { imap, imaps, began, tls: Arc::new(tls) }
    }
}

#[derive(Debug)]
enum Way {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection.
#[derive(Debug)]
pub struct Stream {
    way: Way,
    packing: Option<Box<Packing>>,
}

#[derive(Debug)]
struct Packing {
    pack: Compress,
    unpack: Decompress,
    packed: Vec<u8>,
}

impl Stream {
    pub fn open(doors: &Doors, tls: bool) -> io::Result<Stream> {
        let socket = TcpStream::connect(if tls { doors.imaps } else { doors.imap })?;
        socket.set_nodelay(true)?;
        let way = match tls {
            true => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let tls = ClientConnection::new(doors.tls.clone(), name).map_err(io::Error::other)?;
                Way::Tls(Box::new(StreamOwned::new(tls, socket)))
            }
            false => Way::Clear(socket),
        };
        Ok(Stream { way, packing: None })
    }

    pub fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match &self.way {
            Way::Clear(socket) => socket.set_read_timeout(Some(timeout)),
            Way::Tls(tls) => tls.sock.set_read_timeout(Some(timeout)),
        }
    }

    /// From here on everything is packed (RFC 4978).
    pub fn compress(&mut self) {
        let (pack, unpack) = (Compress::new(Compression::fast(), false), Decompress::new(false));
        self.packing = Some(Box::new(Packing { pack, unpack, packed: Vec::new() }));
    }

    fn write_through(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.way {
            Way::Clear(socket) => socket.write_all(octets),
            Way::Tls(tls) => tls.write_all(octets).and_then(|()| tls.flush()),
        }
    }

    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        let Some(packing) = &mut self.packing else { return self.write_through(octets) };
        let (mut packed, mut taken) = (Vec::new(), 0);
        loop {
            packed.reserve(PIECE);
            let before = packing.pack.total_in();
            let status = packing.pack.compress_vec(&octets[taken..], &mut packed, FlushCompress::Sync);
            taken += (packing.pack.total_in() - before) as usize;
            let done = taken == octets.len() && packed.len() < packed.capacity();
            if done || status.map_err(io::Error::other)? == Status::BufError {
                break;
            }
        }
        self.write_through(&packed)
    }
}

impl Way {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Way::Clear(socket) => socket.read(into),
            Way::Tls(tls) => tls.read(into),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(packing) = &mut self.packing else { return self.way.read(into) };
        loop {
            let (taken, given) = (packing.unpack.total_in(), packing.unpack.total_out());
            let unpacked = packing.unpack.decompress(&packing.packed, into, FlushDecompress::Sync);
            unpacked.map_err(io::Error::other)?;
            packing.packed.drain(..(packing.unpack.total_in() - taken) as usize);
            let count = (packing.unpack.total_out() - given) as usize;
            if count > 0 {
                return Ok(count);
            }
            let mut piece = vec![0; PIECE];
            match self.way.read(&mut piece)? {
                0 => return Ok(0),
                count => packing.packed.extend_from_slice(&piece[..count]),
            }
        }
    }
}
