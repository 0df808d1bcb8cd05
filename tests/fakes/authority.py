"""A certificate authority of a test's own."""

import subprocess


def make_authority(folder):
    """Write a CA, and a certificate for 127.0.0.1 that it signed; return CA, certificate, key."""

    def openssl(command):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)

    (folder / "ca.ext").write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n")
    (folder / "server.ext").write_text("subjectAltName=IP:127.0.0.1\n")
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for name in ("ca", "server"):
        openssl(f"req {curve} -subj /CN={name} -keyout {name}.key -out {name}.csr")
    signing = "x509 -req -days 30"
    openssl(f"{signing} -in ca.csr -signkey ca.key -extfile ca.ext -out ca.crt")
    signer = "-CA ca.crt -CAkey ca.key -CAcreateserial"
    openssl(f"{signing} -in server.csr {signer} -extfile server.ext -out server.crt")
    return folder / "ca.crt", folder / "server.crt", folder / "server.key"
