# Loads a page in Qt WebEngine, whoever signed for it; Chromium's own options may follow the address.
import sys

from PyQt5.QtCore import QUrl
from PyQt5.QtWebEngineWidgets import QWebEngineCertificateError, QWebEnginePage
from PyQt5.QtWidgets import QApplication


class Page(QWebEnginePage):
    def certificateError(self, error: QWebEngineCertificateError) -> bool:  # noqa: N802
        return True


application = QApplication(sys.argv)
page = Page()
page.loadFinished.connect(lambda loaded: application.exit(0 if loaded else 1))
page.load(QUrl(sys.argv[1]))
sys.exit(application.exec_())
