//! Microsoft's clouds: which hosts belong together.
//!
//! Tokens of one cloud are worth nothing in another, so a job names a cloud and not two addresses.
//! <https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>,
//! <https://learn.microsoft.com/graph/deployments>. Deliberately knows no address of a test: those are written out.

use url::Url;

/// A cloud of Microsoft's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cloud {
    /// Worldwide, with the US government's GCC.
    #[default]
    Global,
    /// US government L4, GCC High.
    UsGov,
    /// US government L5, the Department of Defense.
    UsGovDod,
    /// Operated by 21Vianet in China.
    China,
}

impl Cloud {
    pub const ALL: [Cloud; 4] = [Cloud::Global, Cloud::UsGov, Cloud::UsGovDod, Cloud::China];

    /// As a job writes it.
    pub fn name(self) -> &'static str {
        match self {
            Cloud::Global => "global",
            Cloud::UsGov => "us-gov",
            Cloud::UsGovDod => "us-gov-dod",
            Cloud::China => "china",
        }
    }

    /// The hosts that sign in; the first is used. China has two documented ones.
    fn sign_in_hosts(self) -> &'static [&'static str] {
        match self {
            Cloud::Global => &["login.microsoftonline.com"],
            Cloud::UsGov | Cloud::UsGovDod => &["login.microsoftonline.us"],
            Cloud::China => &["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"],
        }
    }

    fn graph_host(self) -> &'static str {
        match self {
            Cloud::Global => "graph.microsoft.com",
            Cloud::UsGov => "graph.microsoft.us",
            Cloud::UsGovDod => "dod-graph.microsoft.us",
            Cloud::China => "microsoftgraph.chinacloudapi.cn",
        }
    }

    /// Where this cloud signs in.
    pub fn authority(self) -> Url {
        https(self.sign_in_hosts()[0])
    }

    /// Where this cloud's Graph is; the token's scope begins with it.
    pub fn graph(self) -> Url {
        https(self.graph_host())
    }

    /// The cloud whose Graph is at this address, if it is a known one's.
    pub fn of_graph(url: &Url) -> Option<Cloud> {
        Cloud::ALL.into_iter().find(|cloud| url.host_str() == Some(cloud.graph_host()))
    }

    /// The cloud that signs in at this address, if it is a known one's; of the two US ones the first.
    pub fn of_authority(url: &Url) -> Option<Cloud> {
        Cloud::ALL.into_iter().find(|cloud| cloud.signs_in_at(url))
    }

    /// Whether this cloud signs in at the address.
    pub fn signs_in_at(self, url: &Url) -> bool {
        url.host_str().is_some_and(|host| self.sign_in_hosts().contains(&host))
    }
}

fn https(host: &str) -> Url {
    // The promise: constant and well-formed.
    Url::parse(&format!("https://{host}")).unwrap_or_else(|_| unreachable!("a constant address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_is_known_by_its_hosts() {
        for cloud in Cloud::ALL {
            assert_eq!(Cloud::of_graph(&cloud.graph()), Some(cloud));
            assert!(cloud.signs_in_at(&cloud.authority()));
        }
        assert_eq!(Cloud::of_authority(&Cloud::UsGovDod.authority()), Some(Cloud::UsGov));
        assert_eq!(Cloud::of_authority(&"https://login.chinacloudapi.cn".parse().unwrap()), Some(Cloud::China));
        assert_eq!(Cloud::of_graph(&"http://127.0.0.1:1".parse().unwrap()), None);
    }
}
