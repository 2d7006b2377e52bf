"""The push providers: FCM, APNs, Web Push, and a recording one for development, over one HTTP/2 client."""
