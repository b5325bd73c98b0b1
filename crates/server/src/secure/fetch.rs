//! Fetching a policy over HTTPS (RFC 8461, section 3.3).

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use packetboat_mail::secure::sts::POLICY_MAX;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::verifier::Authorities;
use crate::dns::Lookup;

/// How long one fetch may take. The RFC suggests a minute; mail waits for this.
const FETCH: Duration = Duration::from_secs(20);
/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// Addresses that are tried.
const ADDRESSES: usize = 4;
/// Octets of the response's header that are kept in memory at most.
const HEADER_MAX: usize = 16 * 1024;
/// Where a policy stands.
const PATH: &str = "/.well-known/mta-sts.txt";

/// Fetches the text of policies.
pub(super) trait Fetch: fmt::Debug + Send + Sync {
    /// The policy text of a domain.
    fn fetch(
        &self,
        lookup: &impl Lookup,
        domain: &str,
    ) -> impl Future<Output = Result<Vec<u8>, FetchError>> + Send;
}

/// Why there is no policy text.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0} has no address ({1})")]
    Address(String, String),
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no authority is trusted here ({0})")]
    Authorities(String),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer is not of type text/plain")]
    Type,
    #[error("the policy does not come whole, or is longer than {POLICY_MAX} octets")]
    Body,
    #[error("no answer within {} s", FETCH.as_secs())]
    Late,
}

/// HTTPS, as the RFC wants it: a verified server, no redirects, no memory.
pub(super) struct Https {
    tls: Result<Arc<ClientConfig>, String>,
    port: u16,
}

impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Https").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Https {
    pub(super) fn new(authorities: &Authorities, port: u16) -> Https {
        let tls = authorities.client().map(|mut config| {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Arc::new(config)
        });
        Https { tls, port }
    }

    async fn get(&self, lookup: &impl Lookup, host: String) -> Result<Vec<u8>, FetchError> {
        let tls = self.tls.clone().map_err(FetchError::Authorities)?;
        let addresses = match lookup.addresses(&host).await {
            Ok(answer) if !answer.data.is_empty() => answer.data,
            Ok(_) => return Err(FetchError::Address(host, "none is published".to_owned())),
            Err(error) => return Err(FetchError::Address(host, error.to_string())),
        };
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|error| FetchError::Address(host.clone(), error.to_string()))?;
        let mut stream = Err(FetchError::Connect(io::ErrorKind::NotFound.into()));
        for address in addresses.into_iter().take(ADDRESSES) {
            let connecting = timeout(CONNECT, TcpStream::connect(SocketAddr::new(address, self.port)));
            stream = connecting
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .map_err(FetchError::Connect);
            if stream.is_ok() {
                break;
            }
        }
        let stream = TlsConnector::from(tls).connect(name, stream?).await.map_err(FetchError::Connect)?;

        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(HEADER_MAX)
            .handshake(TokioIo::new(stream))
            .await?;
        // Ends with the sender, which ends with this function.
        let connection = tokio::spawn(connection);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = hyper::Uri::from_static(PATH);
        let authority = match self.port {
            443 => host,
            port => format!("{host}:{port}"),
        };
        let authority = HeaderValue::from_str(&authority).map_err(|_| FetchError::Type)?;
        request.headers_mut().insert(HOST, authority);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("packetboat"));
        let outcome = async {
            let response = sender.send_request(request).await?;
            if response.status() != StatusCode::OK {
                return Err(FetchError::Status(response.status()));
            }
            let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
            if !kind.eq_ignore_ascii_case("text/plain") {
                return Err(FetchError::Type);
            }
            let body = Limited::new(response.into_body(), POLICY_MAX).collect().await;
            Ok(body.map_err(|_| FetchError::Body)?.to_bytes().to_vec())
        }
        .await;
        connection.abort();
        outcome
    }
}

impl Fetch for Https {
    async fn fetch(&self, lookup: &impl Lookup, domain: &str) -> Result<Vec<u8>, FetchError> {
        let fetching = timeout(FETCH, self.get(lookup, format!("mta-sts.{domain}")));
        fetching.await.unwrap_or(Err(FetchError::Late))
    }
}
