//! Where things lie in a data folder.

use std::path::{Path, PathBuf};

use crate::serve::Service;

/// A data folder. Every path that the command uses in it comes from here.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Locked by whoever uses the folder.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Locked by a stack together with its services, so that it is free when the last of them is gone.
    pub(crate) fn shared_lock(&self) -> PathBuf {
        self.root.join("services.lock")
    }

    /// The configuration of all services.
    pub(crate) fn config(&self) -> PathBuf {
        self.root.join("bulkhead.toml")
    }

    /// The router's configuration while models are simulated; written by every start.
    pub(crate) fn simulated_config(&self) -> PathBuf {
        self.root.join("simulated-models.toml")
    }

    /// What the simulated models take for an API key. No secret: the simulator accepts anything.
    pub(crate) fn simulated_key(&self) -> PathBuf {
        self.root.join("keys").join("simulated-models.key")
    }

    /// The Cedar policy of the executor.
    pub(crate) fn policy(&self) -> PathBuf {
        self.root.join("policy.cedar")
    }

    /// The hashed tokens that every service accepts.
    pub(crate) fn identities(&self) -> PathBuf {
        self.root.join("identities.toml")
    }

    /// A person's or an agent's token.
    pub(crate) fn token(&self, role: &str) -> PathBuf {
        self.root.join("tokens").join(role)
    }

    /// A service's own token.
    pub(crate) fn service_token(&self, service: Service) -> PathBuf {
        self.root.join("keys").join(format!("{}.token", service.name()))
    }

    /// The private key that approval signs grants with; the public one lies beside it.
    pub(crate) fn grant_key(&self) -> PathBuf {
        self.root.join("keys").join("grant.key")
    }

    /// The private key that audit signs checkpoints with; the public one lies beside it.
    pub(crate) fn log_key(&self) -> PathBuf {
        self.root.join("keys").join("log.key")
    }

    /// The folder of a service's store.
    pub(crate) fn data(&self, service: Service) -> PathBuf {
        self.root.join(service.name())
    }

    /// The folder that agents work in.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.root.join("workspace")
    }

    /// The folder of certificates, if there are any.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.root.join("certs")
    }

    /// The authority that `bulkhead certs` has made here, if it has.
    pub(crate) fn authority(&self) -> PathBuf {
        crate::certs::authority_file(&self.certificates())
    }

    /// What a child process logs.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }
}
