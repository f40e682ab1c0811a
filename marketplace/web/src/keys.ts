/** Returns the SHA-256 of a public key's DER; null where the browser computes none: at plain HTTP of another machine. */
export async function fingerprint(pem: string): Promise<string | null> {
  const body = pem.replaceAll(/-----[A-Z ]+-----|\s/g, "");
  if (!window.isSecureContext || !/^[A-Za-z0-9+/]+={0,2}$/.test(body)) {
    return null;
  }
  return hexadecimal(
    await crypto.subtle.digest(
      "SHA-256",
      Uint8Array.from(atob(body), (one) => one.charCodeAt(0)),
    ),
  );
}

export function hexadecimal(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (one) => one.toString(16).padStart(2, "0")).join("");
}
