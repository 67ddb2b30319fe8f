//! Who is who: one certificate authority for each bed, and a client certificate of its own for
//! every program, so that the audit log tells them apart.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::Result;
use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use serde_json::json;

use super::{network::BRIDGE, ports};

/// The address of the API server inside the bed.
#[must_use]
pub fn server() -> String {
    format!("https://127.0.0.1:{}", ports::APISERVER)
}

/// The certificate authority of one bed and the folder of everything that it signed.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    /// Kubeconfigs that are complete.
    written: Mutex<BTreeSet<String>>,
}

impl Authority {
    /// Makes the authority, the certificates of the servers (`server.crt`, `server.key`) and the
    /// key pair of service account tokens (`sa.key`, `sa.pub`).
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.distinguished_name.push(DnType::CommonName, "sluice-bed");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::write(folder.join("ca.crt"), issuer.pem())?;
        let authority = Self { issuer, folder: folder.to_owned(), written: Mutex::default() };
        let names = ["127.0.0.1", &BRIDGE.to_string(), "10.96.0.1", "localhost"]
            .into_iter()
            .chain(["kubernetes.default.svc", "istiod.istio-system.svc"])
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let params = CertificateParams::new(names)?;
        authority.sign(
            "server",
            params,
            "sluice-bed-server",
            ExtendedKeyUsagePurpose::ServerAuth,
        )?;
        let account = KeyPair::generate()?;
        fs::write(folder.join("sa.key"), account.serialize_pem())?;
        fs::write(folder.join("sa.pub"), account.public_key_pem())?;
        Ok(authority)
    }

    /// A client for the kubeconfig `<file>.kubeconfig` of this folder; it trusts this authority only.
    ///
    /// # Errors
    /// When there is no such kubeconfig.
    pub async fn client(&self, file: &str) -> Result<Client> {
        client(&self.file(&format!("{file}.kubeconfig"))).await
    }

    /// A file of this folder (`ca.crt`, `server.crt`, `sa.key`, ...).
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The certificate of the authority.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.issuer.pem()
    }

    /// A kubeconfig for user `name` in `group` with a client certificate; `name` may hold colons. Whoever asks again gets the same
    /// file, which others may be reading.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn kubeconfig(&self, name: &str, group: Option<&str>) -> Result<PathBuf> {
        let file = name.replace(':', "-");
        let mut written = self.written.lock().expect("nobody panics while holding it");
        let path = self.file(&format!("{file}.kubeconfig"));
        if written.contains(&file) {
            return Ok(path);
        }
        let mut params = CertificateParams::new(Vec::new())?;
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        self.sign(&file, params, name, ExtendedKeyUsagePurpose::ClientAuth)?;
        let user = json!({
            "client-certificate": self.file(&format!("{file}.crt")),
            "client-key": self.file(&format!("{file}.key")),
        });
        self.write_kubeconfig(&file, &server(), &user)?;
        written.insert(file);
        Ok(path)
    }

    /// A kubeconfig with a bearer token.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn token_kubeconfig(&self, file: &str, token: &str) -> Result<PathBuf> {
        token_kubeconfig(&self.folder, file, token)
    }

    /// Where everything is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A copy of the kubeconfig `file` for another address of the same API server.
    ///
    /// # Errors
    /// When the original is missing or the copy cannot be written.
    pub fn for_server(&self, file: &str, server: &str) -> Result<PathBuf> {
        let original = fs::read_to_string(self.file(&format!("{file}.kubeconfig")))?;
        let path = self.file(&format!("{file}-outside.kubeconfig"));
        fs::write(&path, original.replace(&self::server(), server))?;
        Ok(path)
    }

    fn write_kubeconfig(
        &self,
        file: &str,
        server: &str,
        user: &serde_json::Value,
    ) -> Result<PathBuf> {
        write_kubeconfig(&self.folder, file, server, user)
    }

    fn sign(
        &self,
        file: &str,
        mut params: CertificateParams,
        common_name: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<()> {
        let key = KeyPair::generate()?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(self.file(&format!("{file}.crt")), certificate.pem())?;
        fs::write(self.file(&format!("{file}.key")), key.serialize_pem())?;
        Ok(())
    }
}

/// A kubeconfig with a bearer token in the folder of an [`Authority`], which it trusts.
///
/// # Errors
/// When the file cannot be written.
pub fn token_kubeconfig(folder: &Path, file: &str, token: &str) -> Result<PathBuf> {
    write_kubeconfig(folder, file, &server(), &json!({ "token": token }))
}

fn write_kubeconfig(
    folder: &Path,
    file: &str,
    server: &str,
    user: &serde_json::Value,
) -> Result<PathBuf> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "bed", "cluster":
            { "server": server, "certificate-authority": folder.join("ca.crt") } }],
        "users": [{ "name": file, "user": user }],
        "contexts": [{ "name": "bed", "context":
            { "cluster": "bed", "user": file, "namespace": "default" } }],
        "current-context": "bed",
    });
    let path = folder.join(format!("{file}.kubeconfig"));
    fs::write(&path, serde_json::to_string_pretty(&config)?)?;
    Ok(path)
}

/// A client for a kubeconfig of [`Authority::kubeconfig`]; it trusts that authority only.
///
/// # Errors
/// When the file is missing or broken.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
