//! What Entra's sign-in error numbers mean for a person, as data.
//!
//! Numbers and texts may change, so they serve as help only; what the program does follows from the OAuth error and
//! the HTTP status. Texts follow <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>; any number
//! can be looked up at `https://login.microsoftonline.com/error?code=NNNN`. Deliberately branches on nothing.

/// Help for a group of error numbers.
#[derive(Debug, PartialEq, Eq)]
pub struct Advice {
    pub codes: &'static [u32],
    /// What is wrong, in a person's words.
    pub cause: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// The help for the first number that has any.
pub fn advice(codes: &[u32]) -> Option<&'static Advice> {
    codes.iter().find_map(|code| TABLE.iter().find(|advice| advice.codes.contains(code)))
}

/// The AADSTS numbers in a message such as `AADSTS7000215: Invalid client secret provided.`
pub fn codes_in(text: &str) -> Vec<u32> {
    let digits = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|code| code.parse().ok());
    text.split("AADSTS").skip(1).filter_map(digits).collect()
}

const fn row(codes: &'static [u32], cause: &'static str, remedy: &'static str) -> Advice {
    Advice { codes, cause, remedy }
}

const TABLE: &[Advice] = &[
    row(
        &[7000215, 70002],
        "the client secret is wrong; most often the Secret ID (a GUID) was copied where its Value belongs",
        "Create a new client secret in the app registration and copy the column \"Value\" at once: it is shown only \
         then. Check too that it was not cut off and belongs to this application.",
    ),
    row(
        &[7000222],
        "the client secret has expired",
        "Create a new client secret and note its end date; a certificate or federation lasts longer.",
    ),
    row(
        &[7000218],
        "neither a secret nor an assertion was sent",
        "Set the credential; an empty environment variable is a frequent reason.",
    ),
    row(
        &[700016, 700011],
        "the application is not known in this tenant",
        "Compare client_id with \"Application (client) ID\" (not the object ID) and tenant with \"Directory (tenant) \
         ID\" on the app registration's overview page.",
    ),
    row(
        &[90002, 50059, 90019, 50128],
        "the tenant was not found",
        "Check the tenant ID; a tenant of a national cloud needs `cloud` in [source]: us-gov, us-gov-dod or china.",
    ),
    row(
        &[900023],
        "the tenant is neither a GUID nor a domain name",
        "Use the Directory (tenant) ID without braces, blanks or placeholders.",
    ),
    row(&[9001023], "/common or /consumers cannot be used by an application", "Use the tenant ID."),
    row(
        &[90013, 90023, 9002313, 900144, 90014],
        "Entra calls the sign-in request malformed",
        "This is a defect of the program: report it with the text above.",
    ),
    row(
        &[90038, 900382, 900432],
        "the tenant belongs to another cloud",
        "Name its cloud in [source]: `cloud = \"us-gov\"`, \"us-gov-dod\" or \"china\".",
    ),
    row(
        &[70011, 28002, 28003, 700022],
        "the requested scope does not fit",
        "Check `cloud` and `graph` in [source]: the scope is made from Graph's address.",
    ),
    row(
        &[700023],
        "the assertion was made for another audience, or the scope names no resource",
        "Check `cloud`, `authority` and `tenant` in [source]: the assertion is made for exactly that sign-in address, so \
         an address that only leads there will not do.",
    ),
    row(
        &[500011, 50001, 650057],
        "this cloud does not know the Graph address",
        "Name the tenant's cloud in [source] (`cloud`), or give `authority` and `graph` of one cloud.",
    ),
    row(
        &[7000112, 70001, 1000031],
        "the application is disabled in the tenant",
        "An Entra administrator enables sign-in under Enterprise applications > Properties.",
    ),
    row(
        &[500014],
        "the service is disabled in the tenant or its subscription lapsed",
        "Ask the tenant's administrator.",
    ),
    row(
        &[700027],
        "Entra does not take the certificate's signature: it is not registered at this application, or has ended",
        "Upload the public certificate (not the key) to the app registration under Certificates & secrets, and compare \
         thumbprints; one that has ended must be replaced by a new one.",
    ),
    row(&[700021], "the assertion names another application", "Check client_id and the assertion's iss and sub."),
    row(
        &[700024],
        "the assertion is outside its validity time",
        "Set this machine's clock (NTP); a federated token may also be too old: check what renews its file.",
    ),
    row(&[700030], "the certificate's subject is not authorised", "Use the registered certificate."),
    row(
        &[50027, 50012, 50013, 50048, 900384],
        "the assertion is malformed or was refused",
        "Check its header, claims and key.",
    ),
    row(
        &[70021],
        "no federated credential fits the token",
        "Compare issuer, subject and audience of the external token with the federated credential, to the letter (no \
         blanks, no wildcards; audience api://AzureADTokenExchange). A new one takes minutes to work.",
    ),
    row(&[700229], "a user's token was given as assertion", "Use an app-only token."),
    row(
        &[65001, 650056, 65005, 90094, 90008],
        "an administrator has not consented to the application's permissions",
        "Add *application* permissions in the app registration and grant admin consent.",
    ),
    row(&[650059], "the application belongs to another tenant only", "Register it here, or make it multi-tenant."),
    row(
        &[50034, 50020, 16003, 51004],
        "Entra looked for a user, but this program signs in as an application",
        "Check that client_id is an application's and that no user name is configured.",
    ),
    row(
        &[53003, 530032, 53000],
        "a Conditional Access policy for workload identities blocks the application, by its location or its risk",
        "The administrator finds the correlation ID in the service-principal sign-in log and allows this machine's \
         address or the application.",
    ),
    row(&[50196], "tokens were requested in a loop", "Wait an hour; report it if it comes back."),
    row(&[90033, 90024, 90006, 90090, 50033, 90012, 90055, 50087], "Entra has a passing fault", "Run again later."),
    row(&[5000224], "the tenant is blocked", "Ask Microsoft support."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_row() {
        let mut codes: Vec<u32> = TABLE.iter().flat_map(|advice| advice.codes).copied().collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert!(TABLE.iter().all(|advice| advice.remedy.ends_with('.') && !advice.cause.ends_with('.')));
    }

    /// Every number that the documentation and reports name for sign-in as an application.
    const MET: [u32; 66] = [
        7000215, 7000222, 7000218, 70002, 700016, 700011, 90002, 900023, 90013, 90023, 9002313, 900144, 90014, 9001023,
        50059, 90019, 50128, 90038, 900382, 900432, 70011, 28002, 28003, 700022, 700023, 500011, 50001, 650057,
        7000112, 70001, 1000031, 500014, 700027, 700021, 700024, 700030, 50027, 50012, 50013, 50048, 900384, 70021,
        700229, 65001, 650056, 65005, 90094, 90008, 650059, 50034, 50020, 16003, 51004, 53003, 530032, 53000, 50196,
        90033, 90024, 90006, 90090, 50033, 90012, 90055, 50087, 5000224,
    ];

    #[test]
    fn every_number_that_is_met_has_a_cause_and_a_remedy() {
        let without: Vec<_> = MET.into_iter().filter(|code| advice(&[*code]).is_none()).collect();
        assert_eq!(without, [0; 0]);
        let known: usize = TABLE.iter().map(|advice| advice.codes.len()).sum();
        assert_eq!(known, MET.len(), "a number without a place it is known from");
    }

    #[test]
    fn what_to_do_is_told_for_the_mistakes_people_make() {
        for (code, cause, remedy) in [
            (7000222, "secret has expired", "new client secret"),
            (700016, "not known in this tenant", "client_id"),
            (90002, "tenant was not found", "`cloud`"),
            (700023, "another audience", "`authority`"),
            (700024, "validity time", "clock"),
            (700027, "has ended", "thumbprints"),
            (70021, "no federated credential fits", "to the letter"),
            (65001, "not consented", "admin consent"),
            (53003, "workload identities", "sign-in log"),
        ] {
            let advice = advice(&[code]).unwrap();
            assert!(advice.cause.contains(cause) && advice.remedy.contains(remedy), "{code}: {advice:?}");
        }
    }

    #[test]
    fn the_secret_id_mistake_is_named() {
        let advice = advice(&codes_in("AADSTS7000215: Invalid client secret provided.")).unwrap();
        assert!(advice.cause.contains("Secret ID") && advice.remedy.contains("\"Value\""));
    }
}
