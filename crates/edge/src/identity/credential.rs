//! What a request presents to say who calls.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::header::{AUTHORIZATION, Entry};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};

use crate::ClientCertificate;

/// What a request presents to say who calls.
/// No `Debug`: it holds the secret itself.
#[derive(Clone, Copy)]
pub(crate) enum Credential<'a> {
    None,
    Malformed,
    Bearer(&'a str),
    Certificate(&'a ClientCertificate),
}

impl<'a> Credential<'a> {
    /// A header decides, good or bad, even where there is a certificate: a service on its way to another proves
    /// its connection with the one and says with the other for whom it calls, and a token that was taken back must
    /// not fall back to the rights of the machine.
    pub(crate) fn of(headers: &'a HeaderMap, extensions: &'a Extensions) -> Self {
        let mut sent = headers.get_all(AUTHORIZATION).iter();
        match (sent.next(), sent.next()) {
            (None, _) => extensions.get::<ClientCertificate>().map_or(Self::None, Self::Certificate),
            (Some(_), Some(_)) => Self::Malformed,
            (Some(value), None) => {
                let parts = value.to_str().ok().and_then(|value| value.split_once(' '));
                match parts {
                    Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                        Self::Bearer(token.trim())
                    }
                    _ => Self::Malformed,
                }
            }
        }
    }
}

/// Where some HTTP APIs carry their token.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Marks what a request presents, so that whatever shows the request from here on leaves it out.
pub(crate) fn conceal(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, API_KEY] {
        if let Entry::Occupied(mut presented) = headers.entry(name) {
            presented.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
}

/// Makes of each `x-api-key: TOKEN` an `authorization: Bearer TOKEN`. Whoever sends both has sent two credentials.
pub(crate) fn take_api_key(headers: &mut HeaderMap) {
    let keys: Vec<HeaderValue> = headers.get_all(&API_KEY).iter().cloned().collect();
    headers.remove(&API_KEY);
    for key in keys {
        let bearer = [b"Bearer ", key.as_bytes()].concat();
        if let Ok(mut value) = HeaderValue::from_bytes(&bearer) {
            value.set_sensitive(true);
            headers.append(AUTHORIZATION, value);
        }
    }
}

/// Where a request comes from, as its connection says; headers that claim another origin are not believed.
pub(crate) fn source(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(headers: &[&str], certificate: bool) -> &'static str {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(AUTHORIZATION, HeaderValue::from_str(value).expect("a header"));
        }
        let mut extensions = Extensions::new();
        if certificate {
            extensions.insert(ClientCertificate { uri_names: vec!["spiffe://example.org/a".into()] });
        }
        match Credential::of(&map, &extensions) {
            Credential::None => "none",
            Credential::Malformed => "malformed",
            Credential::Bearer("secret") => "secret",
            Credential::Bearer(_) => "another token",
            Credential::Certificate(_) => "certificate",
        }
    }

    #[test]
    fn a_header_decides_even_where_there_is_a_certificate() {
        assert_eq!(seen(&[], false), "none");
        assert_eq!(seen(&[], true), "certificate");
        for certificate in [false, true] {
            assert_eq!(seen(&["Bearer secret"], certificate), "secret");
            assert_eq!(seen(&["bearer  secret "], certificate), "secret");
            assert_eq!(seen(&["Bearersecret"], certificate), "malformed");
            assert_eq!(seen(&["Basic c2VjcmV0"], certificate), "malformed");
            assert_eq!(seen(&["Bearer secret", "Bearer secret"], certificate), "malformed");
            assert_eq!(seen(&[""], certificate), "malformed");
        }
    }

    #[test]
    fn an_api_key_is_a_bearer_token_and_with_another_header_one_too_many() {
        let seen = |headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            conceal(&mut map);
            take_api_key(&mut map);
            assert!(map.values().all(HeaderValue::is_sensitive) && !map.contains_key("x-api-key"));
            matches!(Credential::of(&map, &Extensions::new()), Credential::Bearer("secret"))
        };
        assert!(seen(&[("x-api-key", "secret")]));
        assert!(seen(&[("authorization", "Bearer secret")]));
        assert!(!seen(&[("x-api-key", "secret"), ("x-api-key", "secret")]));
        assert!(!seen(&[("x-api-key", "secret"), ("authorization", "Bearer secret")]));
    }
}
