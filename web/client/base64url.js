/**
 * @param {Uint8Array} bytes
 * @returns {string} base64url without padding (RFC 4648 section 5)
 */
export function toBase64Url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
