// Fetches a page with the fetch function that Node has from undici.
const response = await fetch(process.argv[2]);
process.stdout.write(await response.text());
