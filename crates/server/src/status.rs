//! A small HTTP server for Prometheus and for whoever asks whether we live: `GET /metrics`, `GET /healthz`.
//!
//! One request a connection, no bodies in, nothing by name but these two. It runs on the same driver as everything
//! else, so the same limits hold.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use packetboat_wire::{Session, Step, TlsFacts};

use crate::drive::{Handler, Link, Stop, Summary, drive};
use crate::limits::Refusal;
use crate::listen::{Peer, Service};
use crate::metrics::Metrics;
use crate::shutdown::{Phase, ShutdownSignal};

/// Request line and fields together.
const MAX_REQUEST: usize = 8 * 1024;

/// From the connection to the whole request.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// Answers with the state of the server.
#[derive(Debug, Clone)]
pub struct Status {
    metrics: Arc<Metrics>,
    shutdown: ShutdownSignal,
}

impl Status {
    /// A status page of this server.
    pub fn new(metrics: Arc<Metrics>, shutdown: ShutdownSignal) -> Status {
        Status { metrics, shutdown }
    }

    fn answer(&self, method: &str, target: &str) -> Bytes {
        let path = target.split('?').next().unwrap_or_default();
        match (method, path) {
            ("GET" | "HEAD", "/metrics") => {
                const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                response("200 OK", TYPE, &self.metrics.text(), method)
            }
            ("GET" | "HEAD", "/healthz") => match self.shutdown.phase() {
                Phase::Running => response("200 OK", "text/plain", "ok\n", method),
                _ => response("503 Service Unavailable", "text/plain", "stopping\n", method),
            },
            ("GET" | "HEAD", _) => response("404 Not Found", "text/plain", "not here\n", method),
            _ => response("405 Method Not Allowed", "text/plain", "GET only\n", method),
        }
    }
}

fn response(status: &str, kind: &str, body: &str, method: &str) -> Bytes {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    Bytes::from(if method == "HEAD" { head } else { head + body })
}

impl Service for Status {
    fn serve(&self, link: Link, _peer: Peer) -> Pin<Box<dyn Future<Output = Summary> + Send>> {
        Box::pin(drive(link, Request::default(), self.clone()))
    }

    fn refusal(&self, _refusal: Refusal) -> Bytes {
        response("503 Service Unavailable", "text/plain", "too many connections\n", "GET")
    }

    fn has_login(&self) -> bool {
        false
    }
}

impl Handler<Request> for Status {
    async fn handle(&mut self, session: &mut Request, event: Asked) -> Result<(), Stop> {
        session.answer = Some(self.answer(&event.method, &event.target));
        Ok(())
    }
}

/// One HTTP request (RFC 9112), as far as it is needed here.
#[derive(Debug, Default)]
struct Request {
    input: Vec<u8>,
    deadline: Option<Instant>,
    asked: bool,
    closing: bool,
    answer: Option<Bytes>,
}

#[derive(Debug)]
struct Asked {
    method: String,
    target: String,
}

impl Request {
    /// The first line, when the empty line that ends the request has come.
    fn request_line(&self) -> Option<&[u8]> {
        let whole = self.input.windows(4).any(|bytes| bytes == b"\r\n\r\n");
        whole.then(|| self.input.split(|byte| *byte == b'\r').next()).flatten()
    }
}

impl Session for Request {
    type Event = Asked;

    fn receive(&mut self, bytes: &[u8]) {
        if !self.asked && self.input.len() <= MAX_REQUEST {
            self.input.extend_from_slice(bytes);
        }
    }

    fn end_of_input(&mut self) {
        self.closing = true;
    }

    fn tls_started(&mut self, _tls: TlsFacts) {}

    fn shut_down(&mut self) {}

    fn next(&mut self, now: Instant) -> Step<Asked> {
        if let Some(answer) = self.answer.take() {
            self.closing = true;
            return Step::Send(answer);
        }
        let deadline = *self.deadline.get_or_insert(now + REQUEST_TIME);
        if self.asked {
            return Step::Close;
        }
        if let Some(line) = self.request_line() {
            let line = String::from_utf8_lossy(line).into_owned();
            self.asked = true;
            self.input = Vec::new();
            let mut words = line.split(' ');
            return match (words.next(), words.next(), words.next()) {
                (Some(method), Some(target), Some(version)) if version.starts_with("HTTP/1.") => {
                    Step::Event(Asked { method: method.to_owned(), target: target.to_owned() })
                }
                _ => Step::Send(response("400 Bad Request", "text/plain", "not understood\n", "GET")),
            };
        }
        if self.input.len() > MAX_REQUEST {
            self.asked = true;
            return Step::Send(response(
                "431 Request Header Fields Too Large",
                "text/plain",
                "too long\n",
                "GET",
            ));
        }
        if self.closing || now >= deadline {
            return Step::Close;
        }
        Step::Wait { until: Some(deadline) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::shutdown::Shutdown;

    /// Feeds a request in pieces; the first line of the answer and its body.
    fn ask(status: &Status, pieces: &[&str]) -> (String, String) {
        let mut session = Request::default();
        let now = Instant::now();
        for piece in pieces {
            session.receive(piece.as_bytes());
            match session.next(now) {
                Step::Wait { until } => assert_eq!(until, Some(now + REQUEST_TIME)),
                Step::Event(Asked { method, target }) => {
                    session.answer = Some(status.answer(&method, &target))
                }
                Step::Send(bytes) => session.answer = Some(bytes),
                step => panic!("{step:?}"),
            }
        }
        let Step::Send(bytes) = session.next(now) else { panic!("no answer") };
        assert!(matches!(session.next(now), Step::Close));
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    #[test]
    fn answers() {
        let shutdown = Shutdown::new();
        let metrics = Metrics::new();
        metrics.service("smtp").connections.inc();
        let status = Status::new(metrics, shutdown.signal());
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX_REQUEST));
        let table: &[(&[&str], &str, &str)] = &[
            (&["GET /healthz HTTP/1.1\r\n", "Host: x\r\n\r", "\n"], "HTTP/1.1 200 OK", "ok\n"),
            (&["HEAD /healthz HTTP/1.1\r\n\r\n"], "HTTP/1.1 200 OK", ""),
            (&["GET /etc/passwd HTTP/1.0\r\n\r\n"], "HTTP/1.1 404 Not Found", "not here\n"),
            (&["POST /metrics HTTP/1.1\r\n\r\n"], "HTTP/1.1 405 Method Not Allowed", "GET only\n"),
            (&["EHLO there\r\n\r\n"], "HTTP/1.1 400 Bad Request", "not understood\n"),
            (&[&long], "HTTP/1.1 431 Request Header Fields Too Large", "too long\n"),
        ];
        for (pieces, head, body) in table {
            assert_eq!(ask(&status, pieces), ((*head).to_owned(), (*body).to_owned()), "{pieces:?}");
        }
        let (head, body) = ask(&status, &["GET /metrics?x HTTP/1.1\r\n\r\n"]);
        assert_eq!(head, "HTTP/1.1 200 OK");
        assert!(body.contains("packetboat_connections_total{service=\"smtp\"} 1\n"), "{body}");
        assert!(body.contains("packetboat_resident_memory_octets "), "{body}");
        assert!(body.ends_with("# EOF\n"));
        shutdown.enter(Phase::Stopping);
        let (head, _) = ask(&status, &["GET /healthz HTTP/1.1\r\n\r\n"]);
        assert_eq!(head, "HTTP/1.1 503 Service Unavailable");
    }

    #[test]
    fn silence_ends() {
        let mut session = Request::default();
        let now = Instant::now();
        assert!(matches!(session.next(now), Step::Wait { .. }));
        assert!(matches!(session.next(now + REQUEST_TIME), Step::Close));
    }
}
