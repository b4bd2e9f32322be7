//! A check at compile time, for what must stay on its CPU.

/// Does not compile if one of the types is `Send` or `Sync`: for what keeps its CPU from something, and so means
/// nothing on another one.
#[macro_export]
macro_rules! assert_stays {
    ($($type:ty),+) => {
        const _: () = {
            /// Each type has the method by `()`, and once more by another type if it is what it must not be: then
            /// nobody can tell which is meant.
            trait Stays<Way> {
                fn stays() {}
            }
            struct IsSend;
            struct IsSync;
            impl<T: ?Sized> Stays<()> for T {}
            impl<T: ?Sized + Send> Stays<IsSend> for T {}
            impl<T: ?Sized + Sync> Stays<IsSync> for T {}
            $(let _ = <$type as Stays<_>>::stays;)+
        };
    };
}
