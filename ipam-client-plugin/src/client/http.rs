//! One request over HTTP: building it, sending it, reading the answer within bounds.

use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use ipam_api::SERVICE_ID_HEADER;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, ClientBuilder, RequestBuilder, Response, redirect};

use super::Client;
use super::answer::{Again, Answer, Miss, Missed};
use crate::fault::Fault;
use crate::server::Server;

/// The most that is read of an answer, in bytes. A claim's is a few hundred.
const MAX_BODY: usize = 4 << 20;

impl Client {
    /// A request to a server, but for its body.
    pub(super) fn request(
        &self,
        index: usize,
        path: &str,
        token: Option<&str>,
    ) -> Result<RequestBuilder, Fault> {
        let server = &self.access.servers[index];
        let mut request = self
            .http_for(index)?
            .post(server.url(path))
            .header(CONTENT_TYPE, "application/json");
        if let Some(id) = &self.access.service_id {
            request = request.header(SERVICE_ID_HEADER, id);
        }
        if let Some(token) = token {
            let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
                Fault::Local("the token holds characters that no header may hold".to_owned())
            })?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        Ok(request)
    }

    /// The HTTP client of a server, made when it is needed: most calls speak to one server only.
    fn http_for(&self, index: usize) -> Result<&reqwest::Client, Fault> {
        if let Some(client) = self.http[index].get() {
            return Ok(client);
        }
        let client = build(&self.access.servers[index], self.access.ca_file.as_deref())?;
        Ok(self.http[index].get_or_init(|| client))
    }
}

fn build(server: &Server, ca_file: Option<&Path>) -> Result<reqwest::Client, Fault> {
    // reqwest wants a provider also for plain HTTP. A second installation finds the first one, which is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = ClientBuilder::new()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .user_agent(concat!("cluster-ipam/", env!("CARGO_PKG_VERSION")));
    builder = match (server.is_https(), ca_file) {
        (true, Some(path)) => builder.tls_certs_only(certificates(path)?),
        (true, None) => builder,
        // Else the system's certificates are read, which takes longer than all the rest of a call.
        (false, _) => builder.tls_certs_only([]),
    };
    if let Server::Unix(path) = server {
        builder = builder.unix_socket(path.as_path());
    }
    builder
        .build()
        .map_err(|e| Fault::Local(format!("cannot make a client for {server}: {}", root(&e))))
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, Fault> {
    let wrong = |why: String| Fault::Local(format!("caFile {}: {why}", path.display()));
    let pem = fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| wrong(root(&e)))?;
    if certificates.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// Sends a request and reads the whole answer, within `share`.
pub(super) async fn send(request: RequestBuilder, share: Duration) -> Result<Answer, Miss> {
    let exchange = async {
        let response = request.send().await?;
        read(response).await
    };
    match tokio::time::timeout(share, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Miss::Try(Missed {
            why: root(&error),
            sent: !error.is_connect(),
            again: Again::Soon,
        })),
        Err(_) => Err(Miss::Try(Missed {
            why: format!("no answer within {} ms", share.as_millis()),
            sent: true,
            again: Again::Soon,
        })),
    }
}

async fn read(mut response: Response) -> Result<Answer, reqwest::Error> {
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let mut answer = Answer {
        status: response.status().as_u16(),
        service_id: header(SERVICE_ID_HEADER),
        retry_after_s: header(RETRY_AFTER.as_str()).and_then(|text| text.trim().parse().ok()),
        body: Vec::new(),
    };
    while let Some(chunk) = response.chunk().await? {
        if answer.body.len() + chunk.len() > MAX_BODY {
            // Cut short it is not JSON, and is judged as such.
            break;
        }
        answer.body.extend_from_slice(&chunk);
    }
    Ok(answer)
}

/// The innermost cause, which is the one that tells: `Connection refused (os error 111)`.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    if let Some(first) = error.source() {
        cause = first;
        while let Some(next) = cause.source() {
            cause = next;
        }
    }
    cause.to_string()
}
