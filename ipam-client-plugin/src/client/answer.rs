//! What an HTTP answer means for the call: done, refused for good, or worth another try.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::fault::{Fault, problem};
use crate::server::Server;

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) service_id: Option<String>,
    pub(super) retry_after_s: Option<u64>,
    pub(super) body: Vec<u8>,
}

/// A try that did not end in a useful answer.
#[derive(Debug)]
pub(super) enum Miss {
    /// No other server would say otherwise.
    Definite(Fault),
    /// Another try may do.
    Try(Missed),
}

#[derive(Debug)]
pub(super) struct Missed {
    /// For the report.
    pub(super) why: String,
    /// Whether the server may have carried the call out.
    pub(super) sent: bool,
    pub(super) again: Again,
}

/// Whether a server is worth another try in the same call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// After a short pause.
    Soon,
    /// It said when.
    After(Duration),
    /// It answers, but not as ipam-server does.
    Never,
}

impl Answer {
    /// The service's id and the body, or what is wrong.
    pub(super) fn judge<T: DeserializeOwned>(
        self,
        server: &Server,
        pinned: Option<&str>,
    ) -> Result<(String, T), Miss> {
        if let (Some(pinned), Some(answered)) = (pinned, &self.service_id)
            && pinned != answered
        {
            return Err(Miss::Definite(Fault::WrongService {
                server: server.to_string(),
                pinned: pinned.to_owned(),
                answered: answered.clone(),
                in_doubt: false,
            }));
        }
        match self.status {
            200..=299 => self.accept(),
            408 | 429 | 502 | 503 | 504 => Err(self.missed(match self.retry_after_s {
                Some(seconds) => Again::After(Duration::from_secs(seconds)),
                None => Again::Soon,
            })),
            400..=499 | 507 => Err(Miss::Definite(self.refused(server))),
            _ => Err(self.missed(Again::Never)),
        }
    }

    fn accept<T: DeserializeOwned>(self) -> Result<(String, T), Miss> {
        let Some(service_id) = self.service_id.clone() else {
            return Err(self.missed(Again::Never));
        };
        match serde_json::from_slice(&self.body) {
            Ok(body) => Ok((service_id, body)),
            Err(e) => Err(Miss::Try(Missed {
                why: format!(
                    "answered {} with a body that says nothing: {e}",
                    self.status
                ),
                sent: true,
                again: Again::Never,
            })),
        }
    }

    fn missed(&self, again: Again) -> Miss {
        Miss::Try(Missed {
            why: self.describe(),
            sent: true,
            again,
        })
    }

    fn refused(self, server: &Server) -> Fault {
        let problem = problem(&self.body);
        Fault::Refused {
            server: server.to_string(),
            status: self.status,
            code: problem.as_ref().map(|problem| problem.code),
            detail: match &problem {
                Some(problem) => problem.detail.clone(),
                None => format!("{server} {}", self.describe()),
            },
            request_id: problem.and_then(|problem| problem.request_id),
            retry_after_s: self.retry_after_s,
            in_doubt: false,
        }
    }

    fn describe(&self) -> String {
        let mut text = format!("answered {}", self.status);
        if let Some(problem) = problem(&self.body) {
            text.push_str(&format!(": {}", problem.detail));
            if let Some(id) = problem.request_id {
                text.push_str(&format!(" (request {id})"));
            }
        }
        if self.service_id.is_none() {
            text.push_str(" without Ipam-Service-Id: is it an ipam-server?");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use serde_json::{Value, json};

    use super::*;

    fn judge(status: u16, id: Option<&str>, body: &Value) -> Result<(String, Value), Miss> {
        let answer = Answer {
            status,
            service_id: id.map(str::to_owned),
            retry_after_s: (status == 503).then_some(2),
            body: body.to_string().into_bytes(),
        };
        answer.judge(&Server::Tcp("http://a".into()), Some("s1"))
    }

    fn again(status: u16, body: &Value) -> Again {
        match judge(status, Some("s1"), body) {
            Err(Miss::Try(missed)) => missed.again,
            other => panic!("{status}: {other:?}"),
        }
    }

    #[test]
    fn only_the_pinned_services_success_is_one() {
        let body = json!({"released": 1});
        assert_eq!(judge(201, Some("s1"), &body).unwrap().1, body);
        for status in [200, 404, 503] {
            let miss = judge(status, Some("s2"), &body).unwrap_err();
            assert!(matches!(
                miss,
                Miss::Definite(Fault::WrongService { answered, .. }) if answered == "s2"
            ));
        }
        let miss = judge(200, None, &body).unwrap_err();
        assert!(
            matches!(miss, Miss::Try(missed) if missed.why.contains("is it an ipam-server?") && missed.sent)
        );
    }

    #[test]
    fn a_busy_server_is_tried_again_and_a_broken_one_is_not() {
        let nothing = json!({});
        assert_eq!(again(503, &nothing), Again::After(Duration::from_secs(2)));
        for status in [408, 429, 502, 504] {
            assert_eq!(again(status, &nothing), Again::Soon);
        }
        for status in [204, 301, 302, 500, 501] {
            let body = json!("no object");
            let answer = Answer {
                status,
                service_id: Some("s1".into()),
                retry_after_s: None,
                body: body.to_string().into_bytes(),
            };
            let miss = answer
                .judge::<ipam_api::Released>(&Server::Tcp("http://a".into()), None)
                .unwrap_err();
            assert!(matches!(miss, Miss::Try(missed) if missed.again == Again::Never));
        }
    }

    #[test]
    fn a_refusal_keeps_the_services_words() {
        let problem = json!({
            "title": "Conflict", "status": 409, "detail": "held by x", "code": "address_taken", "request_id": "r",
        });
        let Err(Miss::Definite(Fault::Refused {
            code,
            detail,
            request_id,
            ..
        })) = judge(409, Some("s1"), &problem)
        else {
            panic!("not refused");
        };
        assert_eq!(code, Some(ipam_api::Code::AddressTaken));
        assert_eq!(
            (detail.as_str(), request_id.as_deref()),
            ("held by x", Some("r"))
        );
        let Err(Miss::Definite(Fault::Refused { code, detail, .. })) =
            judge(404, None, &json!("<html>"))
        else {
            panic!("not refused");
        };
        assert_eq!(code, None);
        assert_eq!(
            detail,
            "http://a answered 404 without Ipam-Service-Id: is it an ipam-server?"
        );
    }
}
