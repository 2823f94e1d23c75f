//! A client that checks of every answer what every answer must have.

use std::sync::OnceLock;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

/// A client of one server.
#[derive(Clone)]
pub(super) struct Rest {
    base: String,
    client: Client,
    headers: HeaderMap,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Rest {
    pub(super) fn new(base: &str) -> Self {
        Self::of(base, Client::builder())
    }

    pub(super) fn on_socket(path: &std::path::Path) -> Self {
        Self::of("http://localhost", Client::builder().unix_socket(path))
    }

    fn of(base: &str, builder: reqwest::ClientBuilder) -> Self {
        static PROVIDER: OnceLock<()> = OnceLock::new();
        PROVIDER.get_or_init(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        Self {
            base: base.to_owned(),
            client: builder.no_proxy().build().expect("a client"),
            headers: HeaderMap::new(),
        }
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The same client with one more header on each request.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut other = self.clone();
        let name: HeaderName = name.parse().expect("a header's name");
        let value = HeaderValue::from_str(value).expect("a header's value");
        other.headers.insert(name, value);
        other
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    pub(super) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| ("application/json", body.to_string().into_bytes()));
        self.send_raw(method, path, body).await
    }

    /// Sends a body of any kind.
    pub(super) async fn send_raw(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Answer {
        let answer = self.try_send(method, path, body).await;
        answer.unwrap_or_else(|error| panic!("{path}: {error:?}"))
    }

    /// The same, where there may be nobody to answer.
    pub(super) async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> reqwest::Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(method, url);
        request = request.headers(self.headers.clone());
        if let Some((kind, bytes)) = body {
            request = request.header(CONTENT_TYPE, kind).body(bytes);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?;
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).expect("a body is JSON"),
        };
        let answer = Answer {
            status,
            headers,
            body,
        };
        answer.check();
        Ok(answer)
    }
}

impl Answer {
    /// What every answer has.
    fn check(&self) {
        let service = self.header("ipam-service-id");
        assert!(!service.is_empty(), "no service id: {self:?}");
        let id = self.header("x-request-id");
        assert!(!id.is_empty(), "no request id: {self:?}");
        if self.status.is_success() {
            return;
        }
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["type"], "about:blank", "{self:?}");
        assert_eq!(self.body["status"], self.status.as_u16(), "{self:?}");
        assert_eq!(self.body["request_id"], id, "{self:?}");
        assert!(self.body["title"].is_string(), "{self:?}");
        let detail = self.body["detail"].as_str().expect("a detail");
        assert!(!detail.is_empty(), "{self:?}");
        let retry = matches!(self.body["code"].as_str(), Some("unavailable"));
        assert!(
            !retry || self.headers.contains_key("retry-after"),
            "{self:?}"
        );
    }

    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// The body, after a look at the status.
    #[track_caller]
    pub(super) fn expect(&self, status: u16) -> &Value {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        &self.body
    }

    /// The detail of a problem, after a look at status and code.
    #[track_caller]
    pub(super) fn problem(&self, status: u16, code: &str) -> &str {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        assert_eq!(self.body["code"], code, "{:#}", self.body);
        self.body["detail"].as_str().expect("a detail")
    }
}
