use std::path::PathBuf;

use clap::Args;

/// kubectl's connection options.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArguments {
    /// Namespace; by default that of the context.
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// Path of the kubeconfig; by default KUBECONFIG, then `~/.kube/config`.
    #[arg(long, global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// Cluster of the kubeconfig.
    #[arg(long, global = true)]
    pub cluster: Option<String>,
    /// User of the kubeconfig.
    #[arg(long, global = true)]
    pub user: Option<String>,
    /// Address of the API server, such as `http://127.0.0.1:8001`.
    #[arg(short, long, global = true)]
    pub server: Option<String>,
    /// Bearer token.
    #[arg(long, global = true)]
    pub token: Option<String>,
    /// User to act as.
    #[arg(long = "as", global = true)]
    pub act_as: Option<String>,
    /// Group to act as; may be given several times.
    #[arg(long = "as-group", global = true)]
    pub act_as_groups: Vec<String>,
    /// UID to act as.
    #[arg(long = "as-uid", global = true)]
    pub act_as_uid: Option<String>,
    /// File with the certificates to trust.
    #[arg(long, global = true)]
    pub certificate_authority: Option<String>,
    /// File with the client's certificate.
    #[arg(long, global = true)]
    pub client_certificate: Option<String>,
    /// File with the client's key.
    #[arg(long, global = true)]
    pub client_key: Option<String>,
    /// Name in the server's certificate, if it is not that of its address.
    #[arg(long, global = true)]
    pub tls_server_name: Option<String>,
    /// Trusts any certificate of the server.
    #[arg(long, global = true)]
    pub insecure_skip_tls_verify: bool,
    /// How long an answer may take, such as `10s`; 0 means for ever.
    #[arg(long, global = true, default_value = "0")]
    pub request_timeout: String,
    /// Namespace of Applications.
    #[arg(long, global = true, default_value = "argocd")]
    pub application_namespace: String,
    /// Taken as Argo's plugin takes it; nothing is logged.
    #[arg(short = 'v', long, global = true, hide = true)]
    pub kloglevel: Option<u8>,
    /// Taken as Argo's plugin takes it; nothing is logged.
    #[arg(long, global = true, hide = true)]
    pub loglevel: Option<String>,
    /// Taken as kubectl takes it; nothing is cached.
    #[arg(long, global = true, hide = true)]
    pub cache_dir: Option<PathBuf>,
    /// Taken as kubectl takes it; nothing is compressed.
    #[arg(long, global = true, hide = true)]
    pub disable_compression: bool,
}

/// How output looks.
#[derive(Args, Debug, Clone, Copy, Default)]
#[command(next_help_heading = "Look")]
pub struct LookArguments {
    /// No colours; so do NO_COLOR, and output that is no terminal.
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Plain ASCII instead of drawn characters.
    #[arg(long, global = true)]
    pub ascii: bool,
}
