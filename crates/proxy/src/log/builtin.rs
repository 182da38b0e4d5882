//! The formats that options name.

/// A format that an option sets. Source: HAProxy configuration manual, 8.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    /// `option tcplog`.
    Tcp,
    /// `option httplog`.
    Http,
    /// `option httplog clf`.
    Clf,
    /// `option httpslog`.
    Https,
}

impl Builtin {
    /// The format, as it would be written after `log-format`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Tcp => "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq",
            Self::Http => {
                "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc \
                 %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r"
            }
            Self::Clf => {
                "%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \"\" \"\" %cp %ms %ft %b %s \
                 %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl"
            }
            Self::Https => {
                "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc \
                 %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r \
                 %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/%[ssl_fc_is_resumed] \
                 %[ssl_fc_sni]/%sslv/%sslc"
            }
        }
    }

    /// Whether the format says something of requests, so that it needs `mode http`.
    pub fn needs_http(self) -> bool {
        self != Self::Tcp
    }
}
