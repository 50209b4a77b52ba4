# SPDX-License-Identifier: MIT
"""cryptography: OpenSSL and Rust, with allocators of their own in front of malloc."""
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hold import hold

seal = AESGCM(bytes(32))
kept = [seal.encrypt(bytes(12), bytes([n]) * 20000, None) for n in range(200)]  # @kept
print(hashlib.sha256(b"".join(kept)).hexdigest())
try:
    seal.decrypt(bytes(12), kept[3][:-1], None)
except InvalidTag as error:
    print(repr(error))
key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
print(key.sign(b"a word").hex())
private = rsa.generate_private_key(65537, 2048)
signed = private.sign(b"a word", padding.PKCS1v15(), hashes.SHA256())
private.public_key().verify(signed, b"a word", padding.PKCS1v15(), hashes.SHA256())
pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                            serialization.NoEncryption())
print(pem.splitlines()[0], serialization.load_pem_private_key(pem, None).key_size)
hold(200 * 20016, 200 * 20200)
