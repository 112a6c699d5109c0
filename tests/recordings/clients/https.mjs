// Fetches a page with Node's https module (or http, for such an address).
import http from "node:http";
import https from "node:https";

const address = process.argv[2];
const module = address.startsWith("https:") ? https : http;
module.get(address, (response) => response.pipe(process.stdout));
