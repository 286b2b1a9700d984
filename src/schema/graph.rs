//! The properties of Microsoft Graph v1.0: one table for each kind of object and each complex value, as Graph's own
//! description has them.
//!
//! Deliberately holds nothing that is worked out here, and no rule: what is not in a table cannot be named, asked for or
//! read. `the_tables_hold_every_property_that_graph_has` holds them against the description.
//! <https://learn.microsoft.com/graph/api/overview?view=graph-rest-1.0>

use super::{Kind, SIGN_IN_ACTIVITY, Type};
use crate::record::Collection;

/// Names and types, in the order of the names.
type Table = &'static [(&'static str, Type)];

/// The properties of a collection's records.
pub(super) fn table(collection: Collection) -> Table {
    match collection {
        Collection::Users | Collection::DeletedUsers => USERS,
        Collection::SignInActivity => SIGN_INS,
        Collection::Groups | Collection::DeletedGroups => GROUPS,
        Collection::Memberships => MEMBERSHIPS,
        Collection::Nestings => NESTINGS,
        Collection::EffectiveMemberships => EFFECTIVE_MEMBERSHIPS,
        Collection::GroupOwners => GROUP_OWNERS,
        Collection::Licenses => LICENSES,
        Collection::LicenseAssignments => LICENSE_ASSIGNMENTS,
        Collection::Devices => DEVICES,
        Collection::DeviceOwners => DEVICE_OWNERS,
        Collection::DeviceUsers => DEVICE_USERS,
        Collection::AdministrativeUnits => ADMINISTRATIVE_UNITS,
        Collection::AdministrativeUnitMembers => ADMINISTRATIVE_UNIT_MEMBERS,
        Collection::DirectoryRoles => DIRECTORY_ROLES,
        Collection::DirectoryRoleMembers => DIRECTORY_ROLE_MEMBERS,
        Collection::Organization => ORGANIZATION,
        Collection::Custom(_) => &[],
    }
}

const ANY: Type = Type::ANY;
const BOOL: Type = Type::BOOL;
const INT: Type = Type::INT;
const TEXT: Type = Type::TEXT;
const GUID: Type = Type::GUID;
const DATE_TIME: Type = Type::DATE_TIME;
const BINARY: Type = Type::one(Kind::Binary);

const fn list(item: Type) -> Type {
    Type::list(item.kind)
}

const fn complex(properties: Table) -> Type {
    Type::one(Kind::Complex(properties))
}

const USERS: Table = &[
    ("accountEnabled", BOOL),
    ("ageGroup", TEXT),
    ("assignedLicenses", list(complex(ASSIGNED_LICENSE))),
    ("assignedPlans", list(complex(ASSIGNED_PLAN))),
    ("authorizationInfo", complex(AUTHORIZATION_INFO)),
    ("businessPhones", list(TEXT)),
    ("city", TEXT),
    ("companyName", TEXT),
    ("consentProvidedForMinor", TEXT),
    ("country", TEXT),
    ("createdDateTime", DATE_TIME),
    ("creationType", TEXT),
    ("customSecurityAttributes", ANY),
    ("deletedDateTime", DATE_TIME),
    ("department", TEXT),
    ("deviceEnrollmentLimit", INT),
    ("displayName", TEXT),
    ("employeeHireDate", DATE_TIME),
    ("employeeId", TEXT),
    ("employeeLeaveDateTime", DATE_TIME),
    ("employeeOrgData", complex(EMPLOYEE_ORG_DATA)),
    ("employeeType", TEXT),
    ("externalUserState", TEXT),
    ("externalUserStateChangeDateTime", DATE_TIME),
    ("faxNumber", TEXT),
    ("givenName", TEXT),
    ("id", TEXT),
    ("identities", list(complex(OBJECT_IDENTITY))),
    ("identityParentId", TEXT),
    ("imAddresses", list(TEXT)),
    ("isManagementRestricted", BOOL),
    ("isResourceAccount", BOOL),
    ("jobTitle", TEXT),
    ("lastPasswordChangeDateTime", DATE_TIME),
    ("legalAgeGroupClassification", TEXT),
    ("licenseAssignmentStates", list(complex(LICENSE_ASSIGNMENT_STATE))),
    ("mail", TEXT),
    ("mailNickname", TEXT),
    ("mobilePhone", TEXT),
    ("officeLocation", TEXT),
    ("onPremisesDistinguishedName", TEXT),
    ("onPremisesDomainName", TEXT),
    ("onPremisesExtensionAttributes", complex(ON_PREMISES_EXTENSION_ATTRIBUTES)),
    ("onPremisesImmutableId", TEXT),
    ("onPremisesLastSyncDateTime", DATE_TIME),
    ("onPremisesProvisioningErrors", list(complex(ON_PREMISES_PROVISIONING_ERROR))),
    ("onPremisesSamAccountName", TEXT),
    ("onPremisesSecurityIdentifier", TEXT),
    ("onPremisesSyncEnabled", BOOL),
    ("onPremisesUserPrincipalName", TEXT),
    ("otherMails", list(TEXT)),
    ("passwordPolicies", TEXT),
    ("postalCode", TEXT),
    ("preferredDataLocation", TEXT),
    ("preferredLanguage", TEXT),
    ("provisionedPlans", list(complex(PROVISIONED_PLAN))),
    ("proxyAddresses", list(TEXT)),
    ("securityIdentifier", TEXT),
    ("serviceProvisioningErrors", list(complex(SERVICE_PROVISIONING_ERROR))),
    ("showInAddressList", BOOL),
    (SIGN_IN_ACTIVITY, complex(LAST_SIGN_INS)),
    ("signInSessionsValidFromDateTime", DATE_TIME),
    ("state", TEXT),
    ("streetAddress", TEXT),
    ("surname", TEXT),
    ("usageLocation", TEXT),
    ("userPrincipalName", TEXT),
    ("userType", TEXT),
];

const SIGN_INS: Table = &[("id", TEXT), (SIGN_IN_ACTIVITY, complex(LAST_SIGN_INS))];

const GROUPS: Table = &[
    ("assignedLabels", list(complex(ASSIGNED_LABEL))),
    ("assignedLicenses", list(complex(ASSIGNED_LICENSE))),
    ("classification", TEXT),
    ("createdDateTime", DATE_TIME),
    ("deletedDateTime", DATE_TIME),
    ("description", TEXT),
    ("displayName", TEXT),
    ("expirationDateTime", DATE_TIME),
    ("groupTypes", list(TEXT)),
    ("id", TEXT),
    ("infoCatalogs", list(TEXT)),
    ("isAssignableToRole", BOOL),
    ("isManagementRestricted", BOOL),
    ("licenseProcessingState", complex(LICENSE_PROCESSING_STATE)),
    ("mail", TEXT),
    ("mailEnabled", BOOL),
    ("mailNickname", TEXT),
    ("membershipRule", TEXT),
    ("membershipRuleProcessingState", TEXT),
    ("onPremisesDomainName", TEXT),
    ("onPremisesExtensionAttributes", complex(ON_PREMISES_EXTENSION_ATTRIBUTES)),
    ("onPremisesLastSyncDateTime", DATE_TIME),
    ("onPremisesNetBiosName", TEXT),
    ("onPremisesProvisioningErrors", list(complex(ON_PREMISES_PROVISIONING_ERROR))),
    ("onPremisesSamAccountName", TEXT),
    ("onPremisesSecurityIdentifier", TEXT),
    ("onPremisesSyncEnabled", BOOL),
    ("organizationId", TEXT),
    ("preferredDataLocation", TEXT),
    ("preferredLanguage", TEXT),
    ("proxyAddresses", list(TEXT)),
    ("renewedDateTime", DATE_TIME),
    ("resourceBehaviorOptions", list(TEXT)),
    ("resourceProvisioningOptions", list(TEXT)),
    ("securityEnabled", BOOL),
    ("securityIdentifier", TEXT),
    ("serviceProvisioningErrors", list(complex(SERVICE_PROVISIONING_ERROR))),
    ("theme", TEXT),
    ("uniqueName", TEXT),
    ("visibility", TEXT),
];

const DEVICES: Table = &[
    ("accountEnabled", BOOL),
    ("alternativeSecurityIds", list(complex(ALTERNATIVE_SECURITY_ID))),
    ("approximateLastSignInDateTime", DATE_TIME),
    ("complianceExpirationDateTime", DATE_TIME),
    ("deletedDateTime", DATE_TIME),
    ("deviceCategory", TEXT),
    ("deviceId", TEXT),
    ("deviceMetadata", TEXT),
    ("deviceOwnership", TEXT),
    ("deviceVersion", INT),
    ("displayName", TEXT),
    ("enrollmentProfileName", TEXT),
    ("enrollmentType", TEXT),
    ("id", TEXT),
    ("isCompliant", BOOL),
    ("isManaged", BOOL),
    ("isManagementRestricted", BOOL),
    ("isRooted", BOOL),
    ("managementType", TEXT),
    ("manufacturer", TEXT),
    ("mdmAppId", TEXT),
    ("model", TEXT),
    ("onPremisesLastSyncDateTime", DATE_TIME),
    ("onPremisesSecurityIdentifier", TEXT),
    ("onPremisesSyncEnabled", BOOL),
    ("operatingSystem", TEXT),
    ("operatingSystemVersion", TEXT),
    ("physicalIds", list(TEXT)),
    ("profileType", TEXT),
    ("registrationDateTime", DATE_TIME),
    ("systemLabels", list(TEXT)),
    ("trustType", TEXT),
];

const LICENSES: Table = &[
    ("accountId", TEXT),
    ("accountName", TEXT),
    ("appliesTo", TEXT),
    ("capabilityStatus", TEXT),
    ("consumedUnits", INT),
    ("id", TEXT),
    ("prepaidUnits", complex(LICENSE_UNITS_DETAIL)),
    ("servicePlans", list(complex(SERVICE_PLAN_INFO))),
    ("skuId", GUID),
    ("skuPartNumber", TEXT),
    ("subscriptionIds", list(TEXT)),
];

const MEMBERSHIPS: Table = &[("groupId", GUID), ("memberId", GUID), ("memberType", TEXT)];

const EFFECTIVE_MEMBERSHIPS: Table = &[("direct", BOOL), ("groupId", GUID), ("memberId", GUID), ("memberType", TEXT)];

const GROUP_OWNERS: Table = &[("groupId", GUID), ("ownerId", GUID), ("ownerType", TEXT)];

/// The device's object id: its `deviceId` is another id.
const DEVICE_OWNERS: Table = &[("deviceObjectId", GUID), ("ownerId", GUID), ("ownerType", TEXT)];

const DEVICE_USERS: Table = &[("deviceObjectId", GUID), ("userId", GUID)];

const ADMINISTRATIVE_UNIT_MEMBERS: Table = &[("memberId", GUID), ("memberType", TEXT), ("unitId", GUID)];

const DIRECTORY_ROLE_MEMBERS: Table = &[("memberId", GUID), ("memberType", TEXT), ("roleId", GUID)];

/// <https://learn.microsoft.com/graph/api/resources/administrativeunit?view=graph-rest-1.0>
const ADMINISTRATIVE_UNITS: Table = &[
    ("deletedDateTime", DATE_TIME),
    ("description", TEXT),
    ("displayName", TEXT),
    ("id", TEXT),
    ("isMemberManagementRestricted", BOOL),
    ("membershipRule", TEXT),
    ("membershipRuleProcessingState", TEXT),
    ("membershipType", TEXT),
    ("visibility", TEXT),
];

/// <https://learn.microsoft.com/graph/api/resources/directoryrole?view=graph-rest-1.0>
const DIRECTORY_ROLES: Table = &[
    ("deletedDateTime", DATE_TIME),
    ("description", TEXT),
    ("displayName", TEXT),
    ("id", TEXT),
    ("roleTemplateId", TEXT),
];

/// <https://learn.microsoft.com/graph/api/resources/organization?view=graph-rest-1.0>
const ORGANIZATION: Table = &[
    ("assignedPlans", list(complex(ASSIGNED_PLAN))),
    ("businessPhones", list(TEXT)),
    ("city", TEXT),
    ("country", TEXT),
    ("countryLetterCode", TEXT),
    ("createdDateTime", DATE_TIME),
    ("defaultUsageLocation", TEXT),
    ("deletedDateTime", DATE_TIME),
    ("displayName", TEXT),
    ("id", TEXT),
    ("marketingNotificationEmails", list(TEXT)),
    ("mobileDeviceManagementAuthority", TEXT),
    ("onPremisesLastSyncDateTime", DATE_TIME),
    ("onPremisesSyncEnabled", BOOL),
    ("partnerTenantType", TEXT),
    ("postalCode", TEXT),
    ("preferredLanguage", TEXT),
    ("privacyProfile", complex(PRIVACY_PROFILE)),
    ("provisionedPlans", list(complex(PROVISIONED_PLAN))),
    ("securityComplianceNotificationMails", list(TEXT)),
    ("securityComplianceNotificationPhones", list(TEXT)),
    ("state", TEXT),
    ("street", TEXT),
    ("technicalNotificationMails", list(TEXT)),
    ("tenantType", TEXT),
    ("verifiedDomains", list(complex(VERIFIED_DOMAIN))),
];

const PRIVACY_PROFILE: Table = &[("contactEmail", TEXT), ("statementUrl", TEXT)];

const VERIFIED_DOMAIN: Table =
    &[("capabilities", TEXT), ("isDefault", BOOL), ("isInitial", BOOL), ("name", TEXT), ("type", TEXT)];

const NESTINGS: Table = &[("parentId", GUID), ("childId", GUID)];

const LICENSE_ASSIGNMENTS: Table = &[
    ("assignedByGroup", GUID),
    ("disabledPlans", list(GUID)),
    ("error", TEXT),
    ("lastUpdatedDateTime", DATE_TIME),
    ("skuId", GUID),
    ("state", TEXT),
    ("userId", GUID),
];

const ASSIGNED_LICENSE: Table = &[("disabledPlans", list(GUID)), ("skuId", GUID)];

const ASSIGNED_PLAN: Table =
    &[("assignedDateTime", DATE_TIME), ("capabilityStatus", TEXT), ("service", TEXT), ("servicePlanId", GUID)];

const AUTHORIZATION_INFO: Table = &[("certificateUserIds", list(TEXT))];

pub(super) const EMPLOYEE_ORG_DATA: Table = &[("costCenter", TEXT), ("division", TEXT)];

const OBJECT_IDENTITY: Table = &[("issuer", TEXT), ("issuerAssignedId", TEXT), ("signInType", TEXT)];

const LICENSE_ASSIGNMENT_STATE: Table = &[
    ("assignedByGroup", GUID),
    ("disabledPlans", list(GUID)),
    ("error", TEXT),
    ("lastUpdatedDateTime", DATE_TIME),
    ("skuId", GUID),
    ("state", TEXT),
];

const ON_PREMISES_EXTENSION_ATTRIBUTES: Table = &[
    ("extensionAttribute1", TEXT),
    ("extensionAttribute2", TEXT),
    ("extensionAttribute3", TEXT),
    ("extensionAttribute4", TEXT),
    ("extensionAttribute5", TEXT),
    ("extensionAttribute6", TEXT),
    ("extensionAttribute7", TEXT),
    ("extensionAttribute8", TEXT),
    ("extensionAttribute9", TEXT),
    ("extensionAttribute10", TEXT),
    ("extensionAttribute11", TEXT),
    ("extensionAttribute12", TEXT),
    ("extensionAttribute13", TEXT),
    ("extensionAttribute14", TEXT),
    ("extensionAttribute15", TEXT),
];

const ON_PREMISES_PROVISIONING_ERROR: Table =
    &[("category", TEXT), ("occurredDateTime", DATE_TIME), ("propertyCausingError", TEXT), ("value", TEXT)];

const PROVISIONED_PLAN: Table = &[("capabilityStatus", TEXT), ("provisioningStatus", TEXT), ("service", TEXT)];

const SERVICE_PROVISIONING_ERROR: Table =
    &[("createdDateTime", DATE_TIME), ("isResolved", BOOL), ("serviceInstance", TEXT)];

const LAST_SIGN_INS: Table = &[
    ("lastNonInteractiveSignInDateTime", DATE_TIME),
    ("lastNonInteractiveSignInRequestId", TEXT),
    ("lastSignInDateTime", DATE_TIME),
    ("lastSignInRequestId", TEXT),
    ("lastSuccessfulSignInDateTime", DATE_TIME),
    ("lastSuccessfulSignInRequestId", TEXT),
];

const ASSIGNED_LABEL: Table = &[("displayName", TEXT), ("labelId", TEXT)];

const LICENSE_PROCESSING_STATE: Table = &[("state", TEXT)];

const ALTERNATIVE_SECURITY_ID: Table = &[("identityProvider", TEXT), ("key", BINARY), ("type", INT)];

const LICENSE_UNITS_DETAIL: Table = &[("enabled", INT), ("lockedOut", INT), ("suspended", INT), ("warning", INT)];

const SERVICE_PLAN_INFO: Table =
    &[("appliesTo", TEXT), ("provisioningStatus", TEXT), ("servicePlanId", GUID), ("servicePlanName", TEXT)];
