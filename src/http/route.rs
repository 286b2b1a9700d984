//! Which way a request takes: straight, or through a proxy.
//!
//! Hides the variables that name proxies and exceptions, by asking the very matcher that the HTTP client uses.
//! Deliberately shows no user name or password of a proxy.

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

/// How requests reach a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    Direct,
    /// The proxy's address, without user name and password.
    Proxy(String),
}

/// The way to `url`, as the environment says now.
pub fn route(url: &Url) -> Route {
    match super::is_loopback(url) {
        true => Route::Direct,
        false => by(&Matcher::from_system(), url),
    }
}

fn by(matcher: &Matcher, url: &Url) -> Route {
    let Some(proxy) = url.as_str().parse().ok().and_then(|uri| matcher.intercept(&uri)) else { return Route::Direct };
    let uri = proxy.uri();
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    Route::Proxy(format!("{}://{}{port}", uri.scheme_str().unwrap_or("http"), uri.host().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_named_without_their_password() {
        let matcher =
            Matcher::builder().https("http://user:secret@proxy.contoso.com:3128").no("graph.microsoft.us").build();
        let to = |host: &str| by(&matcher, &Url::parse(&format!("https://{host}/v1.0")).unwrap());
        assert_eq!(to("graph.microsoft.com"), Route::Proxy("http://proxy.contoso.com:3128".into()));
        assert_eq!(to("graph.microsoft.us"), Route::Direct);
        assert_eq!(route(&Url::parse("http://127.0.0.1:80").unwrap()), Route::Direct);
    }
}
