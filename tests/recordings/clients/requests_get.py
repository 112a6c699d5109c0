# Fetches a page with the requests library.
import sys

import requests

requests.get(sys.argv[1], timeout=10).raise_for_status()
