// Fetches a page with the https module of Node.js versions that know no node: names.
const https = require("https");

https.get(process.argv[2], (response) => response.pipe(process.stdout));
