//! Telling an event by HTTP, signed as the Standard Webhooks specification has it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use packetboat_wire::Secret;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Event, Failure};
use crate::secure::Authorities;

/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// Addresses that are tried.
const ADDRESSES: usize = 4;
/// Octets of the answer's header that are kept in memory at most.
const HEADER_MAX: usize = 16 * 1024;

/// Where it is posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    tls: bool,
    host: String,
    port: u16,
    /// Host and port as they were written.
    authority: String,
    path: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Url, &'static str> {
        let uri: hyper::Uri =
            text.parse().map_err(|_| "it is no address such as https://example.org/hook")?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it begins neither with https:// nor with http://"),
        };
        let authority = uri.authority().ok_or("no host is named")?;
        if authority.as_str().contains('@') {
            return Err("a name or password in it is not used; sign with a secret");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Url { tls, host, port, authority: authority.as_str().to_owned(), path })
    }
}

/// What signs.
#[derive(Clone)]
pub(crate) struct Key(Secret<Vec<u8>>);

impl Key {
    /// `whsec_` and base64, or else the text itself.
    pub(crate) fn parse(text: &str) -> Key {
        let coded = text.strip_prefix("whsec_").and_then(|coded| STANDARD.decode(coded).ok());
        Key(Secret::new(coded.unwrap_or_else(|| text.as_bytes().to_vec())))
    }

    fn sign(&self, id: &str, time: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose());
        let mut signing = hmac::Context::with_key(&key);
        signing.update(format!("{id}.{time}.").as_bytes());
        signing.update(body);
        format!("v1,{}", STANDARD.encode(signing.sign()))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.0.expose() == other.0.expose()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Posts an event. Whoever calls sets the time limit.
pub(super) async fn post(
    url: &Url,
    key: Option<&Key>,
    event: &Event,
    authorities: &Authorities,
) -> Result<(), Failure> {
    let later = |text: String| Failure::Later(text);
    let stream = connect(url, authorities).await.map_err(later)?;
    let request = request(url, key, event, Timestamp::now().as_second()).map_err(later)?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEADER_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::Later(error.to_string()))?;
    let connection = AbortOnDrop(tokio::spawn(connection));
    let answer = sender.send_request(request).await.map_err(|error| Failure::Later(error.to_string()))?;
    drop(connection);
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(Failure::Later(format!("the answer is {status}"))),
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn request(url: &Url, key: Option<&Key>, event: &Event, time: i64) -> Result<Request<Full<Bytes>>, String> {
    let body = serde_json::to_vec(event).map_err(|error| error.to_string())?;
    let mut fields = vec![
        (HOST, url.authority.clone()),
        (USER_AGENT, "packetboat".to_owned()),
        (CONTENT_TYPE, "application/json".to_owned()),
        (HeaderName::from_static("webhook-id"), event.id.clone()),
        (HeaderName::from_static("webhook-timestamp"), time.to_string()),
        (HeaderName::from_static("idempotency-key"), format!("\"{}\"", event.id)),
    ];
    if let Some(key) = key {
        fields.push((HeaderName::from_static("webhook-signature"), key.sign(&event.id, time, &body)));
    }
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.path.parse().map_err(|_| "its path is not one".to_owned())?;
    for (name, value) in fields {
        let value = HeaderValue::from_str(&value).map_err(|error| error.to_string())?;
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

async fn connect(url: &Url, authorities: &Authorities) -> Result<Box<dyn Stream>, String> {
    let addresses = tokio::net::lookup_host((&url.host[..], url.port)).await;
    let addresses = addresses.map_err(|error| format!("{}: {error}", url.host))?;
    let mut stream = Err(format!("{}: it has no address", url.host));
    for address in addresses.take(ADDRESSES) {
        let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
        let connected = connecting.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        stream = connected.map_err(|error| format!("{address}: {error}"));
        if stream.is_ok() {
            break;
        }
    }
    let stream = stream?;
    if !url.tls {
        return Ok(Box::new(stream));
    }
    let mut config = authorities.client()?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(url.host.clone()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    Ok(Box::new(stream.map_err(|error| format!("TLS: {error}"))?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses() {
        let url = Url::parse("https://hooks.example.org/in?x=1").unwrap();
        assert_eq!(
            (url.tls, &url.host[..], url.port, &url.path[..]),
            (true, "hooks.example.org", 443, "/in?x=1")
        );
        let url = Url::parse("http://[::1]:8080").unwrap();
        assert_eq!((url.tls, &url.host[..], url.port, &url.path[..]), (false, "::1", 8080, "/"));
        for wrong in ["", "ftp://example.org/", "example.org", "/hook", "https://a:b@example.org/"] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn signatures_are_those_of_the_specification() {
        // The example of the Standard Webhooks specification's own libraries.
        let key = Key::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(format!("{key:?}"), "***");
    }
}
