import java.net.URI;

/** Fetches a page with HttpURLConnection, Java's first HTTP client. */
class UrlConnection {
    public static void main(String[] arguments) throws Exception {
        try (var body = URI.create(arguments[0]).toURL().openStream()) {
            body.transferTo(System.out);
        }
    }
}
