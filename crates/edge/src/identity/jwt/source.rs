//! Where the issuer's keys come from, again and again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::keys::KeySetError;
use super::refetch::Refetch;
use super::verifier::Verifier;
use super::{JwtSettings, KeySource};
use crate::Readiness;
use crate::fault::chain;
use crate::identity::watched::{Content, WatchedFile};

/// The condition of [`Readiness`] that says whether there are keys.
const CONDITION: &str = "jwt_keys";
/// A fetch takes no longer, connecting included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// No key set is larger: a hundred keys have about 60 KiB.
const KEY_SET_BYTES_MAX: usize = 256 << 10;
/// Before the next fetch after one that failed, at most.
const RETRY: Duration = Duration::from_secs(5);

/// Why there are no new keys.
#[derive(Debug, thiserror::Error)]
pub enum KeySourceError {
    /// The file cannot be read.
    #[error("cannot read the key set {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What was read is no key set.
    #[error("the key set of {from} cannot be taken")]
    KeySet {
        /// The file or the URL.
        from: String,
        /// Why.
        #[source]
        source: KeySetError,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot set up the client that fetches the key set")]
    Client(#[source] reqwest::Error),
    /// The server is not there, or breaks off.
    #[error("cannot fetch the key set")]
    Fetch(#[source] reqwest::Error),
    /// It answers something else.
    #[error("{url} answered {status} where a key set was expected")]
    Status {
        /// Which.
        url: reqwest::Url,
        /// What it answered.
        status: u16,
    },
    /// It answers too much.
    #[error("the key set at {url} has more than {KEY_SET_BYTES_MAX} bytes")]
    Size {
        /// Which.
        url: reqwest::Url,
    },
}

/// Brings the keys to a [`Verifier`] for as long as the service runs.
#[derive(Debug)]
pub(crate) struct KeyFollower {
    verifier: Arc<Verifier>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    File(WatchedFile),
    Url { client: reqwest::Client, url: reqwest::Url, refresh: Duration },
}

impl Verifier {
    /// Prepares to verify. Keys in a file are read now; a URL is not asked before [`KeyFollower::follow`], so that a
    /// service starts also while its issuer is down.
    ///
    /// # Errors
    /// [`KeySourceError`] when the file cannot be taken.
    pub(crate) fn open(settings: JwtSettings) -> Result<(Arc<Self>, KeyFollower), KeySourceError> {
        let verifier = Arc::new(Self::new(settings.clone()));
        let source = match settings.keys {
            KeySource::File(path) => {
                let (file, content) = WatchedFile::open(&path)
                    .map_err(|source| KeySourceError::Read { path: path.clone(), source })?;
                take_file(&verifier, &path, Ok(content))?;
                Source::File(file)
            }
            KeySource::Url { url, refresh } => Source::Url { client: client(&url)?, url, refresh },
        };
        Ok((Arc::clone(&verifier), KeyFollower { verifier, source }))
    }
}

impl KeyFollower {
    /// Says at once whether there are keys, and keeps them until `stop`.
    pub(crate) fn follow(
        self,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let Self { verifier, source } = self;
        if !verifier.has_keys() {
            readiness.unmet(CONDITION, "there are no keys yet to verify tokens with");
        }
        async move {
            match source {
                Source::File(file) => follow_file(&verifier, file, &readiness, &stop).await,
                Source::Url { client, url, refresh } => {
                    while let Some(pause) =
                        fetch_once(&verifier, &client, &url, refresh, &readiness, &stop).await
                    {
                        let asked = async {
                            match &verifier.refetch {
                                Some(refetch) => refetch.asked().await,
                                None => std::future::pending().await,
                            }
                        };
                        tokio::select! {
                            () = tokio::time::sleep(pause) => {}
                            () = asked => {}
                            () = stop.cancelled() => return,
                        }
                    }
                }
            }
        }
    }
}

async fn follow_file(
    verifier: &Verifier,
    mut file: WatchedFile,
    readiness: &Readiness,
    stop: &CancellationToken,
) {
    loop {
        let content = tokio::select! {
            content = file.changed() => content,
            () = stop.cancelled() => return,
        };
        match take_file(verifier, file.path(), content) {
            Ok(true) => readiness.met(CONDITION),
            Ok(false) => readiness.unmet(CONDITION, "the key set holds no key that signs tokens"),
            Err(error) => {
                let why = chain(&error, ": ");
                tracing::error!(error = why, "the keys known before stay in force");
                readiness.unmet(CONDITION, why);
            }
        }
    }
}

fn take_file(verifier: &Verifier, path: &Path, content: Content) -> Result<bool, KeySourceError> {
    let content =
        content.map_err(|kind| KeySourceError::Read { path: path.to_owned(), source: kind.into() })?;
    verifier
        .take(&content)
        .map_err(|source| KeySourceError::KeySet { from: path.display().to_string(), source })
}

/// Fetches the keys, and says how long to wait before the next time; nothing when the service stops. The keys that
/// were there before stay when this fails: an issuer that is down must not lock everybody out.
async fn fetch_once(
    verifier: &Verifier,
    client: &reqwest::Client,
    url: &reqwest::Url,
    refresh: Duration,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Option<Duration> {
    let fetched = tokio::select! {
        fetched = fetch(client, url) => fetched,
        () = stop.cancelled() => return None,
    };
    let taken = fetched.and_then(|json| {
        verifier.take(&json).map_err(|source| KeySourceError::KeySet { from: url.to_string(), source })
    });
    verifier.refetch.as_ref().map(Refetch::tried);
    match taken {
        Ok(true) => {
            readiness.met(CONDITION);
            return Some(refresh);
        }
        Ok(false) => readiness.unmet(CONDITION, "the key set holds no key that signs tokens"),
        Err(error) => {
            let (why, has_keys) = (chain(&error, ": "), verifier.has_keys());
            tracing::warn!(error = why, has_keys, "the issuer's keys could not be had");
            if !has_keys {
                readiness.unmet(CONDITION, why);
            }
        }
    }
    Some(refresh.min(RETRY))
}

async fn fetch(client: &reqwest::Client, url: &reqwest::Url) -> Result<Vec<u8>, KeySourceError> {
    let mut response = client.get(url.clone()).send().await.map_err(KeySourceError::Fetch)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(KeySourceError::Status { url: url.clone(), status: response.status().as_u16() });
    }
    let mut json = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(KeySourceError::Fetch)? {
        if json.len() + chunk.len() > KEY_SET_BYTES_MAX {
            return Err(KeySourceError::Size { url: url.clone() });
        }
        json.extend_from_slice(&chunk);
    }
    Ok(json)
}

/// Follows no redirect and no proxy of the environment: the configuration alone says whom to trust.
fn client(url: &reqwest::Url) -> Result<reqwest::Client, KeySourceError> {
    reqwest::Client::builder()
        .timeout(FETCH_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .https_only(url.scheme() == "https")
        .build()
        .map_err(KeySourceError::Client)
}
