# Fetches a page with Python's urllib and its default TLS settings; runs on Python 2.7, too.
import sys

try:
    from urllib.request import urlopen
except ImportError:
    from urllib2 import urlopen

urlopen(sys.argv[1]).read()
