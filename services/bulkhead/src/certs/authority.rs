//! Certificates as text. Touches no files.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, ensure};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

/// The name of every authority that this command makes; what a renewal signs is found to be of the same by it.
const NAME: &str = "Bulkhead development CA";

/// Whole days in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    first: Date,
    last: Date,
}

impl Validity {
    /// From the day before `now`, for machines whose clocks are behind, for some days.
    pub(super) fn from(now: Timestamp, days: u16) -> anyhow::Result<Self> {
        let today = now.to_zoned(TimeZone::UTC).date();
        let last = today.checked_add(i64::from(days).days()).context("a time beyond the calendar")?;
        Ok(Self { first: today.yesterday()?, last })
    }

    fn apply(self, params: &mut CertificateParams) -> anyhow::Result<()> {
        let day = |date: Date| {
            anyhow::Ok(date_time_ymd(date.year().into(), date.month().try_into()?, date.day().try_into()?))
        };
        (params.not_before, params.not_after) = (day(self.first)?, day(self.last)?);
        Ok(())
    }
}

/// A certificate and its private key, PEM. Its `Debug` would show the key, so there is none.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Signs certificates.
pub(super) struct Authority {
    params: CertificateParams,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    pub(super) fn create(validity: Validity) -> anyhow::Result<Self> {
        Self::with(KeyPair::generate()?, Some(validity))
    }

    /// The one that has this key.
    pub(super) fn load(key: &str) -> anyhow::Result<Self> {
        Self::with(KeyPair::from_pem(key)?, None)
    }

    fn with(key: KeyPair, validity: Option<Validity>) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(NAME);
        // It signs leaves and no further authorities.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        if let Some(validity) = validity {
            validity.apply(&mut params)?;
        }
        Ok(Self { issuer: Issuer::new(params.clone(), key), params })
    }

    pub(super) fn certificate_pem(&self) -> anyhow::Result<String> {
        Ok(self.params.self_signed(self.issuer.key())?.pem())
    }

    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// For a listener that is called by these names, and on loopback.
    pub(super) fn server(&self, name: &str, hosts: &[String], validity: Validity) -> anyhow::Result<Pair> {
        let mut params = CertificateParams::default();
        for host in std::iter::once("localhost").chain(hosts.iter().map(String::as_str)) {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => {
                    ensure!(is_dns_name(host), "{host:?} is neither a DNS name nor an IP address");
                    SanType::DnsName(host.try_into()?)
                }
            });
        }
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        params.subject_alt_names.extend(loopback.map(SanType::IpAddress));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, name, validity)
    }

    /// For a caller who is this principal.
    pub(super) fn client(&self, principal: &str, validity: Validity) -> anyhow::Result<Pair> {
        let mut params = CertificateParams::default();
        let uri = principal.try_into().with_context(|| format!("{principal:?} is no URI"))?;
        params.subject_alt_names.push(SanType::URI(uri));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, principal, validity)
    }

    fn sign(&self, mut params: CertificateParams, name: &str, validity: Validity) -> anyhow::Result<Pair> {
        params.distinguished_name = named(name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        validity.apply(&mut params)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

/// Whether clients could find this name in a certificate (RFC 5890, 2.3.1), `*` for a first label included.
fn is_dns_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.strip_prefix("*.").unwrap_or(text).split('.').all(is_label)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
