#!/usr/bin/env bash
# Makes the certificates of the tests anew, with OpenSSL 3. Their keys protect nothing and nobody trusts them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# What an application signs in with: RSA 2048, valid for a century.
openssl req -x509 -newkey rsa:2048 -nodes -keyout app.key -out app.crt -days 36500 -subj "/CN=entra-import test" 2>/dev/null
cat app.key app.crt > app.pem
openssl rsa -in app.key -traditional -out app-pkcs1.key 2>/dev/null
openssl pkcs8 -topk8 -in app.key -out app-encrypted.key -passout pass:opensesame -v2 aes-256-cbc
openssl rsa -in app.key -traditional -aes128 -out app-legacy-encrypted.key -passout pass:opensesame 2>/dev/null
# PKCS#12 as OpenSSL writes it today, as Windows and older tools wrote it, and without a password.
openssl pkcs12 -export -inkey app.key -in app.crt -out app.pfx -passout pass:opensesame
openssl pkcs12 -export -inkey app.key -in app.crt -out app-legacy.pfx -passout pass:opensesame -legacy
openssl pkcs12 -export -inkey app.key -in app.crt -out app-open.pfx -passout pass:

# Another one, one that has ended, an elliptic one, and one with a key that is too short.
openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.crt -days 36500 -subj "/CN=entra-import test, other" 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -keyout ended.key -out ended.crt -not_before 20240101000000Z -not_after 20250101000000Z \
    -subj "/CN=entra-import test, ended" 2>/dev/null || {
    # Before OpenSSL 3.4 only `ca` sets dates.
    openssl req -newkey rsa:2048 -nodes -keyout ended.key -out ended.csr -subj "/CN=entra-import test, ended" 2>/dev/null
    touch index.txt
    openssl ca -batch -selfsign -in ended.csr -keyfile ended.key -out ended.crt -startdate 20240101000000Z -enddate 20250101000000Z \
        -config <(printf '[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n') -notext 2>/dev/null
    rm -f index.txt* ended.csr ./*[0-9A-F].pem
}
cat ended.key ended.crt > ended.pem
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ec.key -out ec.crt -days 36500 -subj "/CN=entra-import test, elliptic" 2>/dev/null
cat ec.key ec.crt > ec.pem
openssl req -x509 -newkey rsa:1024 -nodes -keyout short.key -out short.crt -days 36500 -subj "/CN=entra-import test, short" 2>/dev/null
cat short.key short.crt > short.pem
rm ended.key ended.crt ec.key ec.crt short.key short.crt other.key

# A server on loopback for TLS: its authority, a certificate of today, one that has ended, one for another name.
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 36500 -subj "/CN=entra-import test authority" 2>/dev/null
server() {
    local name="$1" san="$2"; shift 2
    openssl req -newkey rsa:2048 -nodes -keyout "$name.key" -out "$name.csr" -subj "/CN=$name" 2>/dev/null
    touch index.txt
    openssl ca -batch -in "$name.csr" -cert ca.crt -keyfile ca.key -out "$name.crt" "$@" -extensions e -notext \
        -config <(printf '[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n[e]\nbasicConstraints=CA:FALSE\nsubjectAltName=%s\n' "$san") 2>/dev/null
    cat "$name.key" "$name.crt" > "$name.pem"
    rm -f index.txt* "$name.csr" "$name.key" "$name.crt" ./*[0-9A-F].pem
}
server server IP:127.0.0.1 -startdate 20240101000000Z -enddate 21200101000000Z
server server-ended IP:127.0.0.1 -startdate 20240101000000Z -enddate 20250101000000Z
server server-other DNS:contoso.com -startdate 20240101000000Z -enddate 21200101000000Z
rm ca.key
