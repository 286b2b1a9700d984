//! The types of directory objects and their properties, as Graph v1.0 lists them.
//!
//! Hides: which properties come without `$select`, which are collections, and what an unset one looks like.
//! Deliberately does not: know complex types' inner properties, or which role may read what (see `rights`).

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::object::Prop;

/// A type of directory object. The first five can be members of groups
/// (<https://learn.microsoft.com/graph/api/group-list-members?view=graph-rest-1.0>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `#microsoft.graph.user`
    User,
    /// `#microsoft.graph.group`
    Group,
    /// `#microsoft.graph.device`
    Device,
    /// `#microsoft.graph.orgContact`
    OrgContact,
    /// `#microsoft.graph.servicePrincipal`
    ServicePrincipal,
    /// `#microsoft.graph.administrativeUnit`
    AdministrativeUnit,
    /// `#microsoft.graph.directoryRole`: an activated one
    DirectoryRole,
    /// `#microsoft.graph.application`
    Application,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::User,
        Self::Group,
        Self::Device,
        Self::OrgContact,
        Self::ServicePrincipal,
        Self::AdministrativeUnit,
        Self::DirectoryRole,
        Self::Application,
    ];

    /// The type's name without its namespace.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Device => "device",
            Self::OrgContact => "orgContact",
            Self::ServicePrincipal => "servicePrincipal",
            Self::AdministrativeUnit => "administrativeUnit",
            Self::DirectoryRole => "directoryRole",
            Self::Application => "application",
        }
    }

    /// The kind of that name; `microsoft.graph.` and `#` before it are accepted, case does not matter.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.trim_start_matches('#').trim_start_matches("microsoft.graph.");
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// The collection's name: the last part of its address, and the name of its file.
    pub fn set(self) -> &'static str {
        match self {
            Self::User => "users",
            Self::Group => "groups",
            Self::Device => "devices",
            Self::OrgContact => "contacts",
            Self::ServicePrincipal => "servicePrincipals",
            Self::AdministrativeUnit => "administrativeUnits",
            Self::DirectoryRole => "directoryRoles",
            Self::Application => "applications",
        }
    }

    /// The collection's address below the version, as `@odata.context` prints it.
    pub fn address(self) -> &'static str {
        match self {
            Self::AdministrativeUnit => "directory/administrativeUnits",
            kind => kind.set(),
        }
    }
}

/// What is known of one property.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// Its interned name.
    pub prop: Prop,
    /// Returned when nothing is selected.
    pub default: bool,
    /// What is printed when it is not set; nothing at all for `signInActivity`.
    pub absent: Option<&'static str>,
    /// Only a single object shows it: of directory objects the list is refused with 501, of others it is null there.
    pub single_only: bool,
}

/// A type's properties by name and in order.
pub struct Type {
    by_name: HashMap<&'static str, Property>,
    order: Vec<Property>,
}

impl Type {
    /// A property by its exact name.
    pub fn property(&self, name: &str) -> Option<Property> {
        self.by_name.get(name).copied().or_else(|| extension(name))
    }

    /// The properties printed when nothing is selected.
    pub fn defaults(&self) -> impl Iterator<Item = Property> + '_ {
        self.order.iter().filter(|property| property.default).copied()
    }
}

/// Directory extension properties (`extension_{appId without dashes}_{name}`) exist on every type once registered;
/// here: once any object carries one. <https://learn.microsoft.com/graph/extensibility-overview>
fn extension(name: &str) -> Option<Property> {
    let prop = Prop::find(name).filter(|_| name.starts_with("extension_"))?;
    Some(Property { prop, default: false, absent: None, single_only: false })
}

/// In the tables below `*` marks a default property, `[]` a collection, `?` one that is left out when unset,
/// `!` one that only a single object can be asked for, `=` what one is when unset that is never null ([`UNSET`], or a
/// number).
/// <https://learn.microsoft.com/graph/api/resources/user?view=graph-rest-1.0>
const USER: &str = "*businessPhones[] *displayName *givenName *jobTitle *mail *mobilePhone *officeLocation \
    *preferredLanguage *surname *userPrincipalName *id accountEnabled ageGroup assignedLicenses[] assignedPlans[] authorizationInfo city companyName \
    consentProvidedForMinor country createdDateTime creationType customSecurityAttributes deletedDateTime department \
    deviceEnrollmentLimit=5 employeeHireDate employeeId employeeLeaveDateTime employeeOrgData employeeType externalUserState \
    externalUserStateChangeDateTime faxNumber identities[] identityParentId imAddresses[] isManagementRestricted isResourceAccount \
    lastPasswordChangeDateTime legalAgeGroupClassification licenseAssignmentStates[] mailNickname onPremisesDistinguishedName \
    onPremisesDomainName onPremisesExtensionAttributes onPremisesImmutableId onPremisesLastSyncDateTime \
    onPremisesProvisioningErrors[] onPremisesSamAccountName onPremisesSecurityIdentifier onPremisesSyncEnabled \
    onPremisesUserPrincipalName otherMails[] passwordPolicies passwordProfile postalCode preferredDataLocation provisionedPlans[] \
    proxyAddresses[] securityIdentifier serviceProvisioningErrors[] showInAddressList signInActivity? \
    signInSessionsValidFromDateTime state streetAddress usageLocation userType aboutMe! birthday! hireDate! interests! \
    mailboxSettings! mySite! pastProjects! preferredName! responsibilities! schools! skills!";

/// <https://learn.microsoft.com/graph/api/resources/group?view=graph-rest-1.0>
const GROUP: &str = "*id *deletedDateTime *classification *createdDateTime *description *displayName *expirationDateTime \
    *groupTypes[] *isAssignableToRole *mail *mailEnabled *mailNickname *membershipRule *membershipRuleProcessingState \
    *onPremisesDomainName *onPremisesLastSyncDateTime *onPremisesNetBiosName *onPremisesProvisioningErrors[] \
    *onPremisesSamAccountName *onPremisesSecurityIdentifier *onPremisesSyncEnabled *preferredDataLocation *preferredLanguage \
    *proxyAddresses[] *renewedDateTime *resourceBehaviorOptions[] *resourceProvisioningOptions[] *securityEnabled \
    *securityIdentifier *theme *visibility assignedLabels[] assignedLicenses[] isManagementRestricted licenseProcessingState \
    serviceProvisioningErrors[] uniqueName infoCatalogs[] onPremisesExtensionAttributes organizationId accessType! allowExternalSenders! autoSubscribeNewMembers! hideFromAddressLists! \
    hideFromOutlookClients! isSubscribedByMail! unseenCount!";

/// <https://learn.microsoft.com/graph/api/resources/device?view=graph-rest-1.0>
const DEVICE: &str = "*id *deletedDateTime *accountEnabled *approximateLastSignInDateTime *complianceExpirationDateTime \
    *deviceCategory *deviceId *deviceMetadata *deviceOwnership *deviceVersion *displayName *enrollmentProfileName \
    *enrollmentType *isCompliant *isManaged *isRooted *managementType *manufacturer *mdmAppId *model *onPremisesLastSyncDateTime \
    *onPremisesSyncEnabled *operatingSystem *operatingSystemVersion *physicalIds[] *profileType *registrationDateTime \
    *systemLabels[] *trustType *alternativeSecurityIds[] isManagementRestricted onPremisesSecurityIdentifier";

/// <https://learn.microsoft.com/graph/api/resources/orgcontact?view=graph-rest-1.0>
const CONTACT: &str = "*id *deletedDateTime *addresses[] *companyName *department *displayName *givenName *jobTitle *mail \
    *mailNickname *onPremisesLastSyncDateTime *onPremisesProvisioningErrors[] *onPremisesSyncEnabled *phones[] *proxyAddresses[] \
    *serviceProvisioningErrors[] *surname";

/// <https://learn.microsoft.com/graph/api/resources/serviceprincipal?view=graph-rest-1.0>
const PRINCIPAL: &str = "*id *deletedDateTime *accountEnabled *alternativeNames[] *appDescription *appDisplayName *appId \
    *appOwnerOrganizationId *appRoleAssignmentRequired *appRoles[] *description *displayName *homepage *keyCredentials[] \
    *loginUrl *logoutUrl *notes *passwordCredentials[] *replyUrls[] *servicePrincipalNames[] *servicePrincipalType \
    *signInAudience *tags[]";

/// <https://learn.microsoft.com/graph/api/resources/administrativeunit?view=graph-rest-1.0>
const UNIT: &str = "*id *deletedDateTime *description *displayName *isMemberManagementRestricted *membershipRule \
    *membershipRuleProcessingState *membershipType *visibility";

/// <https://learn.microsoft.com/graph/api/resources/directoryrole?view=graph-rest-1.0>
const ROLE: &str = "*id *deletedDateTime *description *displayName *roleTemplateId";

/// <https://learn.microsoft.com/graph/api/resources/application?view=graph-rest-1.0>
const APPLICATION: &str = "*id *deletedDateTime *addIns[] *api *appId *appRoles[] *applicationTemplateId *certification \
    *createdDateTime *defaultRedirectUri *description *disabledByMicrosoftStatus *displayName *groupMembershipClaims \
    *identifierUris[] *info *isDeviceOnlyAuthSupported *isFallbackPublicClient *keyCredentials[] *notes *optionalClaims \
    *parentalControlSettings *passwordCredentials[] *publicClient *publisherDomain *requiredResourceAccess[] *samlMetadataUrl \
    *serviceManagementReference *signInAudience *spa *tags[] *tokenEncryptionKeyId *uniqueName *verifiedPublisher *web";

/// <https://learn.microsoft.com/graph/api/resources/licensedetails?view=graph-rest-1.0>
const LICENSE_DETAILS: &str = "*id *skuId *skuPartNumber *servicePlans[]";

/// Here `!` marks what is filled only when one business is read.
/// <https://learn.microsoft.com/graph/api/resources/bookingbusiness?view=graph-rest-1.0>
const BOOKINGS: &str = "*id *displayName *address! *businessHours[]! *businessType! *createdDateTime! *defaultCurrencyIso! *email! \
    *isPublished! *languageTag! *lastUpdatedDateTime! *phone! *publicUrl! *schedulingPolicy! *webSiteUrl!";

/// Here `!` marks what is filled only when one device is read.
/// <https://learn.microsoft.com/graph/api/resources/intune-devices-manageddevice?view=graph-rest-1.0>
const MANAGED: &str = "*id *activationLockBypassCode *androidSecurityPatchLevel *azureADDeviceId *azureADRegistered \
    *complianceGracePeriodExpirationDateTime=never *complianceState=unknown *configurationManagerClientEnabledFeatures \
    *deviceActionResults[] *deviceCategoryDisplayName *deviceEnrollmentType=unknown *deviceHealthAttestationState \
    *deviceName *deviceRegistrationState=unknown *easActivated=no *easActivationDateTime=never *easDeviceId \
    *emailAddress *enrolledDateTime=never *enrollmentProfileName *ethernetMacAddress! *exchangeAccessState=none \
    *exchangeAccessStateReason=none *exchangeLastSuccessfulSyncDateTime=never *freeStorageSpaceInBytes=0 *iccid *imei \
    *isEncrypted=no *isSupervised=no *jailBroken *lastSyncDateTime=never *managedDeviceName \
    *managedDeviceOwnerType=unknown *managementAgent=unknown *managementCertificateExpirationDate=never *manufacturer \
    *meid *model *notes! *operatingSystem *osVersion *partnerReportedThreatState=unknown *phoneNumber \
    *physicalMemoryInBytes!=0 *remoteAssistanceSessionErrorDetails *remoteAssistanceSessionUrl \
    *requireUserEnrollmentApproval *serialNumber *subscriberCarrier *totalStorageSpaceInBytes=0 *udid *userDisplayName \
    *userId *userPrincipalName *wiFiMacAddress";

/// <https://learn.microsoft.com/graph/api/resources/subscribedsku?view=graph-rest-1.0>
const SKU: &str = "*accountName *accountId *appliesTo *capabilityStatus *consumedUnits *id *prepaidUnits *servicePlans[] *skuId \
    *skuPartNumber *subscriptionIds[]";

/// <https://learn.microsoft.com/graph/api/resources/organization?view=graph-rest-1.0>
const ORGANIZATION: &str = "*id *deletedDateTime *assignedPlans[] *businessPhones[] *city *country *countryLetterCode \
    *createdDateTime *defaultUsageLocation *displayName *marketingNotificationEmails[] *mobileDeviceManagementAuthority=unknown \
    *onPremisesLastSyncDateTime *onPremisesSyncEnabled *partnerTenantType *postalCode *preferredLanguage *privacyProfile \
    *provisionedPlans[] *securityComplianceNotificationMails[] *securityComplianceNotificationPhones[] *state *street \
    *technicalNotificationMails[] *tenantType *verifiedDomains[]";

/// What properties are that are unset but never null.
const UNSET: [(&str, &str); 4] =
    [("no", "false"), ("never", "\"0001-01-01T00:00:00Z\""), ("unknown", "\"unknown\""), ("none", "\"none\"")];

fn parse(table: &'static str) -> Type {
    let order: Vec<(&'static str, Property)> = table
        .split_whitespace()
        .map(|word| {
            let (word, unset) = word.split_once('=').map_or((word, None), |(word, unset)| (word, Some(unset)));
            let unset =
                unset.map(|name| UNSET.iter().find(|(known, _)| *known == name).map_or(name, |(_, text)| *text));
            let name = word.trim_start_matches('*').trim_end_matches(['?', '!']);
            let (name, absent) = match name.strip_suffix("[]") {
                Some(name) => (name, Some("[]")),
                None => (name, unset.or((!word.ends_with('?')).then_some("null"))),
            };
            let single_only = word.ends_with('!');
            (name, Property { prop: Prop::intern(name), default: word.starts_with('*'), absent, single_only })
        })
        .collect();
    Type { by_name: order.iter().copied().collect(), order: order.into_iter().map(|(_, property)| property).collect() }
}

/// The properties of a kind of directory object.
pub fn of(kind: Kind) -> &'static Type {
    static TYPES: OnceLock<[Type; Kind::ALL.len()]> = OnceLock::new();
    let tables = [USER, GROUP, DEVICE, CONTACT, PRINCIPAL, UNIT, ROLE, APPLICATION];
    &TYPES.get_or_init(|| tables.map(parse))[kind as usize]
}

/// What Graph lists besides directory objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sheet {
    /// subscribedSkus
    Skus,
    /// The one organization.
    Organization,
    /// A user's licenseDetails.
    LicenseDetails,
    /// Microsoft Bookings businesses.
    Bookings,
    /// Intune's managedDevices.
    ManagedDevices,
}

impl Sheet {
    /// The type's name without its namespace.
    pub fn name(self) -> &'static str {
        match self {
            Self::Skus => "subscribedSku",
            Self::Organization => "organization",
            Self::LicenseDetails => "licenseDetails",
            Self::Bookings => "bookingBusiness",
            Self::ManagedDevices => "managedDevice",
        }
    }

    /// Its properties.
    pub fn properties(self) -> &'static Type {
        static TYPES: OnceLock<[Type; 5]> = OnceLock::new();
        let tables = [SKU, ORGANIZATION, LICENSE_DETAILS, BOOKINGS, MANAGED];
        &TYPES.get_or_init(|| tables.map(parse))[self as usize]
    }
}
