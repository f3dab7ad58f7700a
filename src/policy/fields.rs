//! Request headers that matter on every route.

use http::header::HeaderName;

use crate::semantics::credentials::CREDENTIALS;

/// Request headers that are treated in a way of their own wherever they appear.
#[derive(Clone, Debug)]
pub(crate) struct FieldRules {
    /// By name, sorted by length and then by letters.
    named: Vec<(HeaderName, Treatment)>,
    /// By the beginning of the name, for names without a rule of their own.
    beginnings: Vec<(&'static str, Treatment)>,
    /// To rule out at once most names that have no rule.
    marks: Marks<32>,
    /// To rule out most names that have none by their beginning.
    beginning_marks: Marks<8>,
    /// The operator chose some of them: they may be any, those looked at for other reasons included.
    pub(crate) chosen: bool,
}

/// The treatment of a request header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// It is part of the key when present.
    Keyed,
    /// A request that carries it is bypassed.
    Bypassed,
    /// It is a credential, as `Authorization` is.
    Credential,
    /// No response depends on it.
    Ignored,
}

/// Headers that handlers build links from, and those that name a tenant.
const KEYED: [&str; 54] = [
    "account-id",
    "forwarded",
    "front-end-https",
    "openai-organization",
    "openai-project",
    "organization-id",
    "stripe-account",
    "tenant-id",
    "x-account",
    "x-account-id",
    "x-client-id",
    "x-company",
    "x-company-id",
    "x-customer-id",
    "x-domain-id",
    "x-forwarded-host",
    "x-forwarded-path",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-forwarded-uri",
    "x-goog-user-project",
    "x-host",
    "x-http-host-override",
    "x-namespace",
    "x-org",
    "x-org-id",
    "x-organisation-id",
    "x-organization",
    "x-organization-id",
    "x-original-host",
    "x-original-proto",
    "x-original-uri",
    "x-parse-application-id",
    "x-project-id",
    "x-realm",
    "x-scheme",
    "x-scope-orgid",
    "x-shop-domain",
    "x-shop-id",
    "x-shopify-shop-domain",
    "x-site",
    "x-site-id",
    "x-store-id",
    "x-subscription-id",
    "x-team-id",
    "x-tenant",
    "x-tenant-id",
    "x-workspace",
    "x-workspace-id",
];

/// Headers by which frameworks take a request for another one.
const BYPASSED: [&str; 5] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

impl FieldRules {
    /// Sets the treatment of a header, in place of the one it had.
    pub(crate) fn set(&mut self, name: HeaderName, treatment: Treatment) {
        self.chosen = true;
        self.insert(name, treatment);
    }

    /// Returns the names that have a rule with this treatment.
    pub(crate) fn named(&self, treatment: Treatment) -> impl Iterator<Item = &HeaderName> {
        let has = move |rule: &&(HeaderName, Treatment)| rule.1 == treatment;
        self.named.iter().filter(has).map(|(name, _)| name)
    }

    /// Returns the treatment of a header. Most that have none are ruled out at once.
    #[inline]
    pub(crate) fn treatment(&self, name: &HeaderName) -> Option<Treatment> {
        match self.marks.may_have(name.as_str()) {
            true => self.look_up(name.as_str()),
            false => None,
        }
    }

    fn look_up(&self, name: &str) -> Option<Treatment> {
        if let Ok(at) = self.place(name) {
            return Some(self.named[at].1);
        }
        if !self.beginning_marks.may_have(name) {
            return None;
        }
        let mut beginnings = self.beginnings.iter();
        let found = beginnings.find(|(beginning, _)| name.starts_with(beginning));
        found.map(|(_, treatment)| *treatment)
    }

    fn insert(&mut self, name: HeaderName, treatment: Treatment) {
        self.marks.add(name.as_str());
        match self.place(name.as_str()) {
            Ok(at) => self.named[at].1 = treatment,
            Err(at) => self.named.insert(at, (name, treatment)),
        }
    }

    /// Finds a name among the rules by name. Most comparisons are of lengths alone.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.named.binary_search_by(|(known, _)| {
            let known = known.as_str();
            known.len().cmp(&name.len()).then_with(|| known.cmp(name))
        })
    }
}

impl Default for FieldRules {
    fn default() -> Self {
        let mut rules = Self {
            named: Vec::new(),
            beginnings: Vec::new(),
            marks: Marks([0; 32]),
            beginning_marks: Marks([0; 8]),
            chosen: false,
        };
        let rest = KEYED.map(|name| (name, Treatment::Keyed)).into_iter();
        let rest = rest.chain(BYPASSED.map(|name| (name, Treatment::Bypassed)));
        for (name, treatment) in rest.chain(CREDENTIALS.map(|name| (name, Treatment::Credential))) {
            match name.strip_suffix('*') {
                Some(beginning) => {
                    rules.marks.add(beginning);
                    rules.beginning_marks.add(beginning);
                    rules.beginnings.push((beginning, treatment));
                }
                // The policy's identity says what they mean.
                None if matches!(name, "authorization" | "cookie") => {}
                None => rules.insert(HeaderName::from_static(name), treatment),
            }
        }
        rules
    }
}

/// A bit for each beginning of a name that has a rule, in `N` words of 64.
#[derive(Clone, Copy, Debug)]
struct Marks<const N: usize>([u64; N]);

/// The bytes of a name that count as its beginning. No rule by beginning has fewer.
const BEGINNING: usize = 8;

/// Spreads the beginnings. Chosen so that no header of those that browsers and proxies commonly send
/// falls on a bit of the default rules.
const SPREAD: u64 = 0x786a_7648_a8be_b003;

impl<const N: usize> Marks<N> {
    fn add(&mut self, name: &str) {
        let (word, bit) = Self::place(name);
        self.0[word] |= bit;
    }

    #[inline]
    fn may_have(&self, name: &str) -> bool {
        let (word, bit) = Self::place(name);
        self.0[word] & bit != 0
    }

    #[inline]
    fn place(name: &str) -> (usize, u64) {
        let name = name.as_bytes();
        let beginning = match name.first_chunk::<BEGINNING>() {
            Some(beginning) => u64::from_le_bytes(*beginning),
            None => name.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)),
        };
        let spread = beginning.wrapping_mul(SPREAD) >> 53;
        ((spread >> 6) as usize % N, 1 << (spread & 63))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn treatment(rules: &FieldRules, name: &'static str) -> Option<Treatment> {
        rules.treatment(&HeaderName::from_static(name))
    }

    #[test]
    fn every_default_is_found_by_its_name_or_its_beginning() {
        let rules = FieldRules::default();
        for name in KEYED {
            assert_eq!(treatment(&rules, name), Some(Treatment::Keyed), "{name}");
        }
        for name in BYPASSED {
            assert_eq!(treatment(&rules, name), Some(Treatment::Bypassed), "{name}");
        }
        for known in CREDENTIALS {
            let beginning = known.trim_end_matches('*');
            assert!(
                known == beginning || beginning.len() >= BEGINNING,
                "{known}"
            );
            let name = HeaderName::try_from(known.replace('*', "some")).expect("a name");
            let expected = !["authorization", "cookie"].contains(&known);
            let found = rules.treatment(&name);
            assert_eq!(found == Some(Treatment::Credential), expected, "{known}");
        }
    }

    #[test]
    fn what_every_request_may_carry_has_no_rule() {
        let rules = FieldRules::default();
        for name in [
            "accept",
            "cf-connecting-ip",
            "cf-ray",
            "dnt",
            "priority",
            "sec-ch-ua",
            "sec-fetch-mode",
            "te",
            "traceparent",
            "upgrade-insecure-requests",
            "x-amzn-trace-id",
            "x-csrf-token",
            "x-forwarded-for",
            "x-real-ip",
            "x-request-id",
            "x-requested-with",
            "x-user-agent",
            "x-xsrf-token",
        ] {
            assert_eq!(treatment(&rules, name), None, "{name}");
        }
    }

    #[test]
    fn what_every_request_may_carry_is_ruled_out_at_once() {
        let rules = FieldRules::default();
        for name in [
            "sec-fetch-mode",
            "sec-fetch-site",
            "sec-fetch-dest",
            "sec-fetch-user",
            "sec-ch-ua",
            "sec-ch-ua-mobile",
            "sec-ch-ua-platform",
            "upgrade-insecure-requests",
            "priority",
            "x-request-id",
            "traceparent",
            "tracestate",
            "x-real-ip",
            "cf-ray",
            "cf-connecting-ip",
            "cf-ipcountry",
            "cf-visitor",
            "x-amzn-trace-id",
            "x-cloud-trace-context",
            "x-b3-traceid",
            "sentry-trace",
            "baggage",
            "x-requested-with",
            "x-csrf-token",
            "x-xsrf-token",
            "via",
            "cdn-loop",
            "true-client-ip",
            "if-modified-since",
            "x-correlation-id",
            "dpr",
            "save-data",
            "ect",
            "rtt",
            "downlink",
            "keep-alive",
            "alt-used",
            "proxy-connection",
            "content-type",
            "max-forwards",
            "accept-charset",
            "x-envoy-external-address",
            "device-memory",
            "viewport-width",
            "purpose",
            "sec-gpc",
            "sec-purpose",
            "fastly-client-ip",
            "x-datadog-trace-id",
            "newrelic",
            "uber-trace-id",
            "x-amz-cf-id",
            "x-varnish",
            "x-cache-key",
            "x-nextjs-data",
            "hx-request",
            "turbo-frame",
            "x-inertia",
            "rsc",
            "next-url",
            "x-livewire",
        ] {
            assert!(!rules.marks.may_have(name), "{name}");
        }
        // Proxies add it to every request, and others begin like it.
        assert!(!rules.beginning_marks.may_have("x-forwarded-for"));
    }

    #[test]
    fn the_last_word_on_a_name_counts() {
        let mut rules = FieldRules::default();
        for (name, set) in [
            ("x-api-key", Treatment::Keyed),
            ("x-ms-token-own", Treatment::Ignored),
            ("te", Treatment::Bypassed),
            ("te", Treatment::Credential),
        ] {
            rules.set(HeaderName::from_static(name), set);
            assert_eq!(treatment(&rules, name), Some(set));
        }
        assert_eq!(
            treatment(&rules, "x-ms-token-other"),
            Some(Treatment::Credential)
        );
    }
}
